from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.plan_rank_model_kind import PlanRankModelKind, check_plan_rank_model_kind

T = TypeVar("T", bound="PlanRankModel")


@_attrs_define
class PlanRankModel:
    """Where a passage stands in one plan of search that the release has.

    Attributes:
        kind (PlanRankModelKind):
        plan (str): For people, such as "ivfflat, 25 of 310 lists, 200 candidates".
        rank (int | None):
        used (bool): Whether the search used this plan.
    """

    kind: PlanRankModelKind
    plan: str
    rank: int | None
    used: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind: str = self.kind

        plan = self.plan

        rank: int | None
        rank = self.rank

        used = self.used

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "plan": plan,
                "rank": rank,
                "used": used,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = check_plan_rank_model_kind(d.pop("kind"))

        plan = d.pop("plan")

        def _parse_rank(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        rank = _parse_rank(d.pop("rank"))

        used = d.pop("used")

        plan_rank_model = cls(
            kind=kind,
            plan=plan,
            rank=rank,
            used=used,
        )

        plan_rank_model.additional_properties = d
        return plan_rank_model

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
