from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.dead_letters_classes import DeadLettersClasses
    from ..models.document_model import DocumentModel


T = TypeVar("T", bound="DeadLetters")


@_attrs_define
class DeadLetters:
    """Documents that could not be processed, in the order they were dropped into the inbox.

    Attributes:
        request_id (str):
        classes (DeadLettersClasses): How many there are by class of error.
        documents (list[DocumentModel]):
        next_ (int | None): Give this as `after` for the next page.
    """

    request_id: str
    classes: DeadLettersClasses
    documents: list[DocumentModel]
    next_: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        request_id = self.request_id

        classes = self.classes.to_dict()

        documents = []
        for documents_item_data in self.documents:
            documents_item = documents_item_data.to_dict()
            documents.append(documents_item)

        next_: int | None
        next_ = self.next_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "classes": classes,
                "documents": documents,
                "next": next_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.dead_letters_classes import DeadLettersClasses
        from ..models.document_model import DocumentModel

        d = dict(src_dict)
        request_id = d.pop("request_id")

        classes = DeadLettersClasses.from_dict(d.pop("classes"))

        documents = []
        _documents = d.pop("documents")
        for documents_item_data in _documents:
            documents_item = DocumentModel.from_dict(documents_item_data)

            documents.append(documents_item)

        def _parse_next_(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        next_ = _parse_next_(d.pop("next"))

        dead_letters = cls(
            request_id=request_id,
            classes=classes,
            documents=documents,
            next_=next_,
        )

        dead_letters.additional_properties = d
        return dead_letters

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
