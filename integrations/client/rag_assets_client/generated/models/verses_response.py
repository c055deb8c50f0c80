from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.verse_model import VerseModel


T = TypeVar("T", bound="VersesResponse")


@_attrs_define
class VersesResponse:
    """The same verses in several versions.

    Attributes:
        request_id (str):
        release (int):
        verses (list[VerseModel]): In the order of the versions.
        missing (list[str]): Versions that do not have the reference.
    """

    request_id: str
    release: int
    verses: list[VerseModel]
    missing: list[str]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        request_id = self.request_id

        release = self.release

        verses = []
        for verses_item_data in self.verses:
            verses_item = verses_item_data.to_dict()
            verses.append(verses_item)

        missing = self.missing

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "release": release,
                "verses": verses,
                "missing": missing,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.verse_model import VerseModel

        d = dict(src_dict)
        request_id = d.pop("request_id")

        release = d.pop("release")

        verses = []
        _verses = d.pop("verses")
        for verses_item_data in _verses:
            verses_item = VerseModel.from_dict(verses_item_data)

            verses.append(verses_item)

        missing = cast(list[str], d.pop("missing"))

        verses_response = cls(
            request_id=request_id,
            release=release,
            verses=verses,
            missing=missing,
        )

        verses_response.additional_properties = d
        return verses_response

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
