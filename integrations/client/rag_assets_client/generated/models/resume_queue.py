from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.resume_queue_lane import ResumeQueueLane, check_resume_queue_lane

T = TypeVar("T", bound="ResumeQueue")


@_attrs_define
class ResumeQueue:
    """A lane from which runs are started again.

    Attributes:
        lane (ResumeQueueLane):
    """

    lane: ResumeQueueLane

    def to_dict(self) -> dict[str, Any]:
        lane: str = self.lane

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "lane": lane,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        lane = check_resume_queue_lane(d.pop("lane"))

        resume_queue = cls(
            lane=lane,
        )

        return resume_queue
