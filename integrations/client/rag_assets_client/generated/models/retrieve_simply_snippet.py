from typing import Literal

RetrieveSimplySnippet = Literal["full", "none", "part"]

RETRIEVE_SIMPLY_SNIPPET_VALUES: set[RetrieveSimplySnippet] = {
    "full",
    "none",
    "part",
}


def check_retrieve_simply_snippet(value: str) -> RetrieveSimplySnippet:
    if value in RETRIEVE_SIMPLY_SNIPPET_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {RETRIEVE_SIMPLY_SNIPPET_VALUES!r}"
    )
