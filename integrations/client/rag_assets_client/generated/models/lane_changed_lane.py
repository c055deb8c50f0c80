from typing import Literal

LaneChangedLane = Literal["rag_bible", "rag_large_docs", "rag_processing"]

LANE_CHANGED_LANE_VALUES: set[LaneChangedLane] = {
    "rag_bible",
    "rag_large_docs",
    "rag_processing",
}


def check_lane_changed_lane(value: str) -> LaneChangedLane:
    if value in LANE_CHANGED_LANE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {LANE_CHANGED_LANE_VALUES!r}"
    )
