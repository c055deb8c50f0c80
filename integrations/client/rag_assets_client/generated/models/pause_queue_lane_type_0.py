from typing import Literal

PauseQueueLaneType0 = Literal["rag_large_docs", "rag_processing"]

PAUSE_QUEUE_LANE_TYPE_0_VALUES: set[PauseQueueLaneType0] = {
    "rag_large_docs",
    "rag_processing",
}


def check_pause_queue_lane_type_0(value: str) -> PauseQueueLaneType0:
    if value in PAUSE_QUEUE_LANE_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {PAUSE_QUEUE_LANE_TYPE_0_VALUES!r}"
    )
