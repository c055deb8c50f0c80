from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.listed_document_model import ListedDocumentModel


T = TypeVar("T", bound="DocumentsModel")


@_attrs_define
class DocumentsModel:
    """The documents that can be searched.

    Attributes:
        documents (int):
        passages (int):
        listed (list[ListedDocumentModel]): Some of them, in order of their keys.
        next_ (None | str): Give this as `after` for further documents.
    """

    documents: int
    passages: int
    listed: list[ListedDocumentModel]
    next_: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        documents = self.documents

        passages = self.passages

        listed = []
        for listed_item_data in self.listed:
            listed_item = listed_item_data.to_dict()
            listed.append(listed_item)

        next_: None | str
        next_ = self.next_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "documents": documents,
                "passages": passages,
                "listed": listed,
                "next": next_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.listed_document_model import ListedDocumentModel

        d = dict(src_dict)
        documents = d.pop("documents")

        passages = d.pop("passages")

        listed = []
        _listed = d.pop("listed")
        for listed_item_data in _listed:
            listed_item = ListedDocumentModel.from_dict(listed_item_data)

            listed.append(listed_item)

        def _parse_next_(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        next_ = _parse_next_(d.pop("next"))

        documents_model = cls(
            documents=documents,
            passages=passages,
            listed=listed,
            next_=next_,
        )

        documents_model.additional_properties = d
        return documents_model

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
