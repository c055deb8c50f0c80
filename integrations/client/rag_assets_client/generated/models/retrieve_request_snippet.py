from typing import Literal

RetrieveRequestSnippet = Literal["full", "none", "part"]

RETRIEVE_REQUEST_SNIPPET_VALUES: set[RetrieveRequestSnippet] = {
    "full",
    "none",
    "part",
}


def check_retrieve_request_snippet(value: str) -> RetrieveRequestSnippet:
    if value in RETRIEVE_REQUEST_SNIPPET_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {RETRIEVE_REQUEST_SNIPPET_VALUES!r}"
    )
