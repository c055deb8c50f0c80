from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.pause_queue_lane import PauseQueueLane, check_pause_queue_lane
from ..types import UNSET, Unset

T = TypeVar("T", bound="PauseQueue")


@_attrs_define
class PauseQueue:
    """A lane from which no further runs are started.

    Attributes:
        lane (PauseQueueLane):
        reason (str | Unset): For the doctor. Default: 'over HTTP'.
    """

    lane: PauseQueueLane
    reason: str | Unset = "over HTTP"

    def to_dict(self) -> dict[str, Any]:
        lane: str = self.lane

        reason = self.reason

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "lane": lane,
            }
        )
        if reason is not UNSET:
            field_dict["reason"] = reason

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        lane = check_pause_queue_lane(d.pop("lane"))

        reason = d.pop("reason", UNSET)

        pause_queue = cls(
            lane=lane,
            reason=reason,
        )

        return pause_queue
