from typing import Literal

RetrieveRequestCorpus = Literal["bible", "both", "documents"]

RETRIEVE_REQUEST_CORPUS_VALUES: set[RetrieveRequestCorpus] = {
    "bible",
    "both",
    "documents",
}


def check_retrieve_request_corpus(value: str) -> RetrieveRequestCorpus:
    if value in RETRIEVE_REQUEST_CORPUS_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {RETRIEVE_REQUEST_CORPUS_VALUES!r}"
    )
