from typing import Literal

ListAllLaneType0 = Literal["rag_large_docs", "rag_processing"]

LIST_ALL_LANE_TYPE_0_VALUES: set[ListAllLaneType0] = {
    "rag_large_docs",
    "rag_processing",
}


def check_list_all_lane_type_0(value: str) -> ListAllLaneType0:
    if value in LIST_ALL_LANE_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {LIST_ALL_LANE_TYPE_0_VALUES!r}"
    )
