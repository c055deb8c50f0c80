from typing import Literal

ListAllStateType0 = Literal["dead", "ready", "running", "waiting", "withdrawn"]

LIST_ALL_STATE_TYPE_0_VALUES: set[ListAllStateType0] = {
    "dead",
    "ready",
    "running",
    "waiting",
    "withdrawn",
}


def check_list_all_state_type_0(value: str) -> ListAllStateType0:
    if value in LIST_ALL_STATE_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {LIST_ALL_STATE_TYPE_0_VALUES!r}"
    )
