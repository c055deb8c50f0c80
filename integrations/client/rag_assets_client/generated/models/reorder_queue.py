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

from ..models.reorder_queue_lane_type_0 import (
    ReorderQueueLaneType0,
    check_reorder_queue_lane_type_0,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="ReorderQueue")


@_attrs_define
class ReorderQueue:
    """Which waiting documents come first in their lanes.

    Attributes:
        strategy (Literal['oldest_first']): Those that have waited longest.
        limit (int | Unset): How many, at most. Default: 100.
        lane (None | ReorderQueueLaneType0 | Unset): Only those of this lane.
    """

    strategy: Literal["oldest_first"]
    limit: int | Unset = 100
    lane: None | ReorderQueueLaneType0 | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        strategy = self.strategy

        limit = self.limit

        lane: None | str | Unset
        if isinstance(self.lane, Unset):
            lane = UNSET
        elif isinstance(self.lane, str):
            lane = self.lane
        else:
            lane = self.lane

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "strategy": strategy,
            }
        )
        if limit is not UNSET:
            field_dict["limit"] = limit
        if lane is not UNSET:
            field_dict["lane"] = lane

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        strategy = cast(Literal["oldest_first"], d.pop("strategy"))
        if strategy != "oldest_first":
            raise ValueError(
                f"strategy must match const 'oldest_first', got '{strategy}'"
            )

        limit = d.pop("limit", UNSET)

        def _parse_lane(data: object) -> None | ReorderQueueLaneType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                lane_type_0 = check_reorder_queue_lane_type_0(data)

                return lane_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ReorderQueueLaneType0 | Unset, data)

        lane = _parse_lane(d.pop("lane", UNSET))

        reorder_queue = cls(
            strategy=strategy,
            limit=limit,
            lane=lane,
        )

        return reorder_queue
