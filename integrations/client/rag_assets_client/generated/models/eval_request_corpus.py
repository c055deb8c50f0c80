from typing import Literal

EvalRequestCorpus = Literal["bible", "both", "documents"]

EVAL_REQUEST_CORPUS_VALUES: set[EvalRequestCorpus] = {
    "bible",
    "both",
    "documents",
}


def check_eval_request_corpus(value: str) -> EvalRequestCorpus:
    if value in EVAL_REQUEST_CORPUS_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {EVAL_REQUEST_CORPUS_VALUES!r}"
    )
