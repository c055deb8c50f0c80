from typing import Literal

RetrieveSimplyCorpus = Literal["bible", "both", "documents"]

RETRIEVE_SIMPLY_CORPUS_VALUES: set[RetrieveSimplyCorpus] = {
    "bible",
    "both",
    "documents",
}


def check_retrieve_simply_corpus(value: str) -> RetrieveSimplyCorpus:
    if value in RETRIEVE_SIMPLY_CORPUS_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {RETRIEVE_SIMPLY_CORPUS_VALUES!r}"
    )
