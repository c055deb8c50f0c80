from typing import Literal

ResumeQueueLaneType0 = Literal["rag_large_docs", "rag_processing"]

RESUME_QUEUE_LANE_TYPE_0_VALUES: set[ResumeQueueLaneType0] = {
    "rag_large_docs",
    "rag_processing",
}


def check_resume_queue_lane_type_0(value: str) -> ResumeQueueLaneType0:
    if value in RESUME_QUEUE_LANE_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {RESUME_QUEUE_LANE_TYPE_0_VALUES!r}"
    )
