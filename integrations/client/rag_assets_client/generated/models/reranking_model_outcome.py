from typing import Literal

RerankingModelOutcome = Literal[
    "bad-answer", "done", "rate-limited", "refused", "timeout", "unavailable"
]

RERANKING_MODEL_OUTCOME_VALUES: set[RerankingModelOutcome] = {
    "bad-answer",
    "done",
    "rate-limited",
    "refused",
    "timeout",
    "unavailable",
}


def check_reranking_model_outcome(value: str) -> RerankingModelOutcome:
    if value in RERANKING_MODEL_OUTCOME_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {RERANKING_MODEL_OUTCOME_VALUES!r}"
    )
