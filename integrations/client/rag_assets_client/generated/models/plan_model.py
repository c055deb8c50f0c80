from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.plan_model_kind import PlanModelKind, check_plan_model_kind

T = TypeVar("T", bound="PlanModel")


@_attrs_define
class PlanModel:
    """How the table was read.

    Attributes:
        kind (PlanModelKind):
        generation (int | None):
        probes (int | None):
        lists (int | None):
        candidates (int | None):
    """

    kind: PlanModelKind
    generation: int | None
    probes: int | None
    lists: int | None
    candidates: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind: str = self.kind

        generation: int | None
        generation = self.generation

        probes: int | None
        probes = self.probes

        lists: int | None
        lists = self.lists

        candidates: int | None
        candidates = self.candidates

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "generation": generation,
                "probes": probes,
                "lists": lists,
                "candidates": candidates,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = check_plan_model_kind(d.pop("kind"))

        def _parse_generation(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        generation = _parse_generation(d.pop("generation"))

        def _parse_probes(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        probes = _parse_probes(d.pop("probes"))

        def _parse_lists(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        lists = _parse_lists(d.pop("lists"))

        def _parse_candidates(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        candidates = _parse_candidates(d.pop("candidates"))

        plan_model = cls(
            kind=kind,
            generation=generation,
            probes=probes,
            lists=lists,
            candidates=candidates,
        )

        plan_model.additional_properties = d
        return plan_model

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
