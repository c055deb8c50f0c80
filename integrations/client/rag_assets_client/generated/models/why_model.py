from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.ranks_model import RanksModel


T = TypeVar("T", bound="WhyModel")


@_attrs_define
class WhyModel:
    """Where a hit comes from, and how it was found.

    Attributes:
        source (str): The file, below the folder of the Bibles or the inbox; a version's code if its folder is not on
            this machine.
        line (int | None): Of a verse in its file, from 1.
        page (int | None): Of a document, from 1, if it has pages.
        text_hash (str): SHA-256 of the embedded text, in hexadecimal digits.
        run_id (str): The run that wrote the vector.
        model (str): Provider and model of the space that was searched.
        cost_usd (float | None): Mean cost of a text that the run requested; null if it requested none, or the price is
            unknown.
        generation (int | None): Of the index; null if none was read.
        release (int):
        ranks (RanksModel): Where a passage stands after each step of the search, from 1; null where it is not.
    """

    source: str
    line: int | None
    page: int | None
    text_hash: str
    run_id: str
    model: str
    cost_usd: float | None
    generation: int | None
    release: int
    ranks: RanksModel
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        source = self.source

        line: int | None
        line = self.line

        page: int | None
        page = self.page

        text_hash = self.text_hash

        run_id = self.run_id

        model = self.model

        cost_usd: float | None
        cost_usd = self.cost_usd

        generation: int | None
        generation = self.generation

        release = self.release

        ranks = self.ranks.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "source": source,
                "line": line,
                "page": page,
                "text_hash": text_hash,
                "run_id": run_id,
                "model": model,
                "cost_usd": cost_usd,
                "generation": generation,
                "release": release,
                "ranks": ranks,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.ranks_model import RanksModel

        d = dict(src_dict)
        source = d.pop("source")

        def _parse_line(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        line = _parse_line(d.pop("line"))

        def _parse_page(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        page = _parse_page(d.pop("page"))

        text_hash = d.pop("text_hash")

        run_id = d.pop("run_id")

        model = d.pop("model")

        def _parse_cost_usd(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        cost_usd = _parse_cost_usd(d.pop("cost_usd"))

        def _parse_generation(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        generation = _parse_generation(d.pop("generation"))

        release = d.pop("release")

        ranks = RanksModel.from_dict(d.pop("ranks"))

        why_model = cls(
            source=source,
            line=line,
            page=page,
            text_hash=text_hash,
            run_id=run_id,
            model=model,
            cost_usd=cost_usd,
            generation=generation,
            release=release,
            ranks=ranks,
        )

        why_model.additional_properties = d
        return why_model

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
