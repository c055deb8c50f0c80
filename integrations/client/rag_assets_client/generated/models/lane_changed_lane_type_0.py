from typing import Literal

LaneChangedLaneType0 = Literal["rag_large_docs", "rag_processing"]

LANE_CHANGED_LANE_TYPE_0_VALUES: set[LaneChangedLaneType0] = {
    "rag_large_docs",
    "rag_processing",
}


def check_lane_changed_lane_type_0(value: str) -> LaneChangedLaneType0:
    if value in LANE_CHANGED_LANE_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {LANE_CHANGED_LANE_TYPE_0_VALUES!r}"
    )
