from typing import Literal

ExplainRequestCorpus = Literal["bible", "both", "documents"]

EXPLAIN_REQUEST_CORPUS_VALUES: set[ExplainRequestCorpus] = {
    "bible",
    "both",
    "documents",
}


def check_explain_request_corpus(value: str) -> ExplainRequestCorpus:
    if value in EXPLAIN_REQUEST_CORPUS_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {EXPLAIN_REQUEST_CORPUS_VALUES!r}"
    )
