from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="LanguageModel")


@_attrs_define
class LanguageModel:
    """A language, by the first part of its tags, which is what `language` selects by.

    Attributes:
        language (str):
        versions (int):
        verses (int):
        documents (int):
        passages (int):
    """

    language: str
    versions: int
    verses: int
    documents: int
    passages: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        language = self.language

        versions = self.versions

        verses = self.verses

        documents = self.documents

        passages = self.passages

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "language": language,
                "versions": versions,
                "verses": verses,
                "documents": documents,
                "passages": passages,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        language = d.pop("language")

        versions = d.pop("versions")

        verses = d.pop("verses")

        documents = d.pop("documents")

        passages = d.pop("passages")

        language_model = cls(
            language=language,
            versions=versions,
            verses=verses,
            documents=documents,
            passages=passages,
        )

        language_model.additional_properties = d
        return language_model

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
