from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ListedDocumentModel")


@_attrs_define
class ListedDocumentModel:
    """A document that can be searched.

    Attributes:
        document (str): Its key.
        title (str):
        language (str):
        passages (int):
    """

    document: str
    title: str
    language: str
    passages: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        document = self.document

        title = self.title

        language = self.language

        passages = self.passages

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "document": document,
                "title": title,
                "language": language,
                "passages": passages,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        document = d.pop("document")

        title = d.pop("title")

        language = d.pop("language")

        passages = d.pop("passages")

        listed_document_model = cls(
            document=document,
            title=title,
            language=language,
            passages=passages,
        )

        listed_document_model.additional_properties = d
        return listed_document_model

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
