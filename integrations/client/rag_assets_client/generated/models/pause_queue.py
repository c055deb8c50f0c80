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

from ..models.pause_queue_lane_type_0 import (
    PauseQueueLaneType0,
    check_pause_queue_lane_type_0,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="PauseQueue")


@_attrs_define
class PauseQueue:
    """A lane from which no further runs are started.

    Attributes:
        lane (Literal['rag_bible'] | PauseQueueLaneType0):
        reason (str | Unset): For the doctor. Default: 'over HTTP'.
    """

    lane: Literal["rag_bible"] | PauseQueueLaneType0
    reason: str | Unset = "over HTTP"

    def to_dict(self) -> dict[str, Any]:
        lane: Literal["rag_bible"] | str
        if isinstance(self.lane, str):
            lane = self.lane
        else:
            lane = self.lane

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

        def _parse_lane(data: object) -> Literal["rag_bible"] | PauseQueueLaneType0:
            try:
                if not isinstance(data, str):
                    raise TypeError()
                lane_type_0 = check_pause_queue_lane_type_0(data)

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

        reason = d.pop("reason", UNSET)

        pause_queue = cls(
            lane=lane,
            reason=reason,
        )

        return pause_queue
