from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.lane_changed_lane import LaneChangedLane, check_lane_changed_lane

T = TypeVar("T", bound="LaneChanged")


@_attrs_define
class LaneChanged:
    """The state of a lane.

    Attributes:
        request_id (str):
        lane (LaneChangedLane):
        paused (bool):
        changed (bool): Whether it was in another state before.
    """

    request_id: str
    lane: LaneChangedLane
    paused: bool
    changed: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        request_id = self.request_id

        lane: str = self.lane

        paused = self.paused

        changed = self.changed

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "lane": lane,
                "paused": paused,
                "changed": changed,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        request_id = d.pop("request_id")

        lane = check_lane_changed_lane(d.pop("lane"))

        paused = d.pop("paused")

        changed = d.pop("changed")

        lane_changed = cls(
            request_id=request_id,
            lane=lane,
            paused=paused,
            changed=changed,
        )

        lane_changed.additional_properties = d
        return lane_changed

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
