from typing import Literal

PauseQueueLane = Literal["rag_bible", "rag_large_docs", "rag_processing"]

PAUSE_QUEUE_LANE_VALUES: set[PauseQueueLane] = {
    "rag_bible",
    "rag_large_docs",
    "rag_processing",
}


def check_pause_queue_lane(value: str) -> PauseQueueLane:
    if value in PAUSE_QUEUE_LANE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {PAUSE_QUEUE_LANE_VALUES!r}"
    )
