from typing import Literal

ReadySearchedType0 = Literal["primary", "replica"]

READY_SEARCHED_TYPE_0_VALUES: set[ReadySearchedType0] = {
    "primary",
    "replica",
}


def check_ready_searched_type_0(value: str) -> ReadySearchedType0:
    if value in READY_SEARCHED_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {READY_SEARCHED_TYPE_0_VALUES!r}"
    )
