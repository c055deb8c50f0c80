from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="BookModel")


@_attrs_define
class BookModel:
    """A book that at least one of the versions has.

    Attributes:
        book (str): USFM code.
        name (str): In English.
        name_pt (str): In Portuguese.
        versions (int): Versions that have it.
        verses (int): In all versions together.
    """

    book: str
    name: str
    name_pt: str
    versions: int
    verses: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        book = self.book

        name = self.name

        name_pt = self.name_pt

        versions = self.versions

        verses = self.verses

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "book": book,
                "name": name,
                "name_pt": name_pt,
                "versions": versions,
                "verses": verses,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        book = d.pop("book")

        name = d.pop("name")

        name_pt = d.pop("name_pt")

        versions = d.pop("versions")

        verses = d.pop("verses")

        book_model = cls(
            book=book,
            name=name,
            name_pt=name_pt,
            versions=versions,
            verses=verses,
        )

        book_model.additional_properties = d
        return book_model

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
