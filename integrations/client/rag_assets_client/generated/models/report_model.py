from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.remark_model import RemarkModel


T = TypeVar("T", bound="ReportModel")


@_attrs_define
class ReportModel:
    """What became of a document's text when it was read.

    Attributes:
        pages (int | None): Or slides; null where the format has none.
        passages (int):
        characters (int):
        replaced_characters (int): That could not be read: U+FFFD in the text.
        left_out (list[RemarkModel]): On purpose.
        repaired (list[RemarkModel]): Or guessed.
        lost (list[RemarkModel]): What should be in the text and is not.
    """

    pages: int | None
    passages: int
    characters: int
    replaced_characters: int
    left_out: list[RemarkModel]
    repaired: list[RemarkModel]
    lost: list[RemarkModel]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        pages: int | None
        pages = self.pages

        passages = self.passages

        characters = self.characters

        replaced_characters = self.replaced_characters

        left_out = []
        for left_out_item_data in self.left_out:
            left_out_item = left_out_item_data.to_dict()
            left_out.append(left_out_item)

        repaired = []
        for repaired_item_data in self.repaired:
            repaired_item = repaired_item_data.to_dict()
            repaired.append(repaired_item)

        lost = []
        for lost_item_data in self.lost:
            lost_item = lost_item_data.to_dict()
            lost.append(lost_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "pages": pages,
                "passages": passages,
                "characters": characters,
                "replaced_characters": replaced_characters,
                "left_out": left_out,
                "repaired": repaired,
                "lost": lost,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.remark_model import RemarkModel

        d = dict(src_dict)

        def _parse_pages(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        pages = _parse_pages(d.pop("pages"))

        passages = d.pop("passages")

        characters = d.pop("characters")

        replaced_characters = d.pop("replaced_characters")

        left_out = []
        _left_out = d.pop("left_out")
        for left_out_item_data in _left_out:
            left_out_item = RemarkModel.from_dict(left_out_item_data)

            left_out.append(left_out_item)

        repaired = []
        _repaired = d.pop("repaired")
        for repaired_item_data in _repaired:
            repaired_item = RemarkModel.from_dict(repaired_item_data)

            repaired.append(repaired_item)

        lost = []
        _lost = d.pop("lost")
        for lost_item_data in _lost:
            lost_item = RemarkModel.from_dict(lost_item_data)

            lost.append(lost_item)

        report_model = cls(
            pages=pages,
            passages=passages,
            characters=characters,
            replaced_characters=replaced_characters,
            left_out=left_out,
            repaired=repaired,
            lost=lost,
        )

        report_model.additional_properties = d
        return report_model

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
