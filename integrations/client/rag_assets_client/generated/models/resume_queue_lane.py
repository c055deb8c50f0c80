from typing import Literal

ResumeQueueLane = Literal["rag_bible", "rag_large_docs", "rag_processing"]

RESUME_QUEUE_LANE_VALUES: set[ResumeQueueLane] = {
    "rag_bible",
    "rag_large_docs",
    "rag_processing",
}


def check_resume_queue_lane(value: str) -> ResumeQueueLane:
    if value in RESUME_QUEUE_LANE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {RESUME_QUEUE_LANE_VALUES!r}"
    )
