from typing import Literal

DocumentModelState = Literal["dead", "ready", "running", "waiting", "withdrawn"]

DOCUMENT_MODEL_STATE_VALUES: set[DocumentModelState] = {
    "dead",
    "ready",
    "running",
    "waiting",
    "withdrawn",
}


def check_document_model_state(value: str) -> DocumentModelState:
    if value in DOCUMENT_MODEL_STATE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {DOCUMENT_MODEL_STATE_VALUES!r}"
    )
