from typing import Literal

ExpectedModelCorpus = Literal["bible", "documents"]

EXPECTED_MODEL_CORPUS_VALUES: set[ExpectedModelCorpus] = {
    "bible",
    "documents",
}


def check_expected_model_corpus(value: str) -> ExpectedModelCorpus:
    if value in EXPECTED_MODEL_CORPUS_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {EXPECTED_MODEL_CORPUS_VALUES!r}"
    )
