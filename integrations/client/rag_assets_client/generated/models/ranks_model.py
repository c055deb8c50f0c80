from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="RanksModel")


@_attrs_define
class RanksModel:
    """Where a passage stands after each step of the search, from 1; null where it is not.

    Attributes:
        exact (int | None): By distance, among all rows that the filter passes.
        vector (int | None): Among the rows that the plan found.
        text (int | None): Among the rows that the words found.
        fused (int | None): Among all candidates, of both corpora.
        grouped (int | None): Of the hit that represents it, also beyond `top_k`.
    """

    exact: int | None
    vector: int | None
    text: int | None
    fused: int | None
    grouped: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        exact: int | None
        exact = self.exact

        vector: int | None
        vector = self.vector

        text: int | None
        text = self.text

        fused: int | None
        fused = self.fused

        grouped: int | None
        grouped = self.grouped

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "exact": exact,
                "vector": vector,
                "text": text,
                "fused": fused,
                "grouped": grouped,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)

        def _parse_exact(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        exact = _parse_exact(d.pop("exact"))

        def _parse_vector(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        vector = _parse_vector(d.pop("vector"))

        def _parse_text(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        text = _parse_text(d.pop("text"))

        def _parse_fused(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        fused = _parse_fused(d.pop("fused"))

        def _parse_grouped(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        grouped = _parse_grouped(d.pop("grouped"))

        ranks_model = cls(
            exact=exact,
            vector=vector,
            text=text,
            fused=fused,
            grouped=grouped,
        )

        ranks_model.additional_properties = d
        return ranks_model

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
