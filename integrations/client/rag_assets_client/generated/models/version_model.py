from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="VersionModel")


@_attrs_define
class VersionModel:
    """A Bible version.

    Attributes:
        version (str):
        name (str):
        language (str): A BCP 47 tag.
        licence (str):
        verses (int):
        books (list[str]): USFM codes, in canonical order.
    """

    version: str
    name: str
    language: str
    licence: str
    verses: int
    books: list[str]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        version = self.version

        name = self.name

        language = self.language

        licence = self.licence

        verses = self.verses

        books = self.books

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "version": version,
                "name": name,
                "language": language,
                "licence": licence,
                "verses": verses,
                "books": books,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        version = d.pop("version")

        name = d.pop("name")

        language = d.pop("language")

        licence = d.pop("licence")

        verses = d.pop("verses")

        books = cast(list[str], d.pop("books"))

        version_model = cls(
            version=version,
            name=name,
            language=language,
            licence=licence,
            verses=verses,
            books=books,
        )

        version_model.additional_properties = d
        return version_model

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
