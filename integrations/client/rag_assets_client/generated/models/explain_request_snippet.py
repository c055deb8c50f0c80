from typing import Literal

ExplainRequestSnippet = Literal["full", "none", "part"]

EXPLAIN_REQUEST_SNIPPET_VALUES: set[ExplainRequestSnippet] = {
    "full",
    "none",
    "part",
}


def check_explain_request_snippet(value: str) -> ExplainRequestSnippet:
    if value in EXPLAIN_REQUEST_SNIPPET_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {EXPLAIN_REQUEST_SNIPPET_VALUES!r}"
    )
