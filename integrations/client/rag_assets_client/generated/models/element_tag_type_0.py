from typing import Literal

ElementTagType0 = Literal[
    "blockquote",
    "br",
    "code",
    "em",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
]

ELEMENT_TAG_TYPE_0_VALUES: set[ElementTagType0] = {
    "blockquote",
    "br",
    "code",
    "em",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
}


def check_element_tag_type_0(value: str) -> ElementTagType0:
    if value in ELEMENT_TAG_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {ELEMENT_TAG_TYPE_0_VALUES!r}"
    )
