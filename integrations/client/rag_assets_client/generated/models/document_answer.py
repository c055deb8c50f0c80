from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.document_model import DocumentModel


T = TypeVar("T", bound="DocumentAnswer")


@_attrs_define
class DocumentAnswer:
    """One document.

    Attributes:
        request_id (str):
        document (DocumentModel): A document and its state.
    """

    request_id: str
    document: DocumentModel
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        request_id = self.request_id

        document = self.document.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "document": document,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.document_model import DocumentModel

        d = dict(src_dict)
        request_id = d.pop("request_id")

        document = DocumentModel.from_dict(d.pop("document"))

        document_answer = cls(
            request_id=request_id,
            document=document,
        )

        document_answer.additional_properties = d
        return document_answer

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
