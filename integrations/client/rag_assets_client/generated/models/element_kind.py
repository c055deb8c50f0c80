from typing import Literal

ElementKind = Literal["close", "open", "text"]

ELEMENT_KIND_VALUES: set[ElementKind] = {
    "close",
    "open",
    "text",
}


def check_element_kind(value: str) -> ElementKind:
    if value in ELEMENT_KIND_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {ELEMENT_KIND_VALUES!r}"
    )
