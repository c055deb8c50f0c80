from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

from ..models.resume_queue_lane_type_0 import (
    ResumeQueueLaneType0,
    check_resume_queue_lane_type_0,
)

T = TypeVar("T", bound="ResumeQueue")


@_attrs_define
class ResumeQueue:
    """A lane from which runs are started again.

    Attributes:
        lane (Literal['rag_bible'] | ResumeQueueLaneType0):
    """

    lane: Literal["rag_bible"] | ResumeQueueLaneType0

    def to_dict(self) -> dict[str, Any]:
        lane: Literal["rag_bible"] | str
        if isinstance(self.lane, str):
            lane = self.lane
        else:
            lane = self.lane

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

        def _parse_lane(data: object) -> Literal["rag_bible"] | ResumeQueueLaneType0:
            try:
                if not isinstance(data, str):
                    raise TypeError()
                lane_type_0 = check_resume_queue_lane_type_0(data)

                return lane_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            lane_type_1 = cast(Literal["rag_bible"], data)
            if lane_type_1 != "rag_bible":
                raise ValueError(
                    f"lane_type_1 must match const 'rag_bible', got '{lane_type_1}'"
                )
            return lane_type_1

        lane = _parse_lane(d.pop("lane"))

        resume_queue = cls(
            lane=lane,
        )

        return resume_queue
