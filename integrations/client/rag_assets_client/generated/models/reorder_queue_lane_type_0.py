from typing import Literal

ReorderQueueLaneType0 = Literal["rag_large_docs", "rag_processing"]

REORDER_QUEUE_LANE_TYPE_0_VALUES: set[ReorderQueueLaneType0] = {
    "rag_large_docs",
    "rag_processing",
}


def check_reorder_queue_lane_type_0(value: str) -> ReorderQueueLaneType0:
    if value in REORDER_QUEUE_LANE_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {REORDER_QUEUE_LANE_TYPE_0_VALUES!r}"
    )
