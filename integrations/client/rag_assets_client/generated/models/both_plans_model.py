from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.plan_model import PlanModel


T = TypeVar("T", bound="BothPlansModel")


@_attrs_define
class BothPlansModel:
    """How each corpus' table was read.

    Attributes:
        bible (PlanModel): How the table was read.
        documents (PlanModel): How the table was read.
        kind (Literal['both'] | Unset):  Default: 'both'.
    """

    bible: PlanModel
    documents: PlanModel
    kind: Literal["both"] | Unset = "both"
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        bible = self.bible.to_dict()

        documents = self.documents.to_dict()

        kind = self.kind

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "bible": bible,
                "documents": documents,
            }
        )
        if kind is not UNSET:
            field_dict["kind"] = kind

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.plan_model import PlanModel

        d = dict(src_dict)
        bible = PlanModel.from_dict(d.pop("bible"))

        documents = PlanModel.from_dict(d.pop("documents"))

        kind = cast(Literal["both"] | Unset, d.pop("kind", UNSET))
        if kind != "both" and not isinstance(kind, Unset):
            raise ValueError(f"kind must match const 'both', got '{kind}'")

        both_plans_model = cls(
            bible=bible,
            documents=documents,
            kind=kind,
        )

        both_plans_model.additional_properties = d
        return both_plans_model

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
