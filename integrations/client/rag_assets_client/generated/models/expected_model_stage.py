from typing import Literal

ExpectedModelStage = Literal[
    "beyond_candidates",
    "beyond_top_k",
    "excluded_by_words",
    "found",
    "grouped",
    "not_embedded",
    "not_in_release",
    "not_in_source",
    "not_probed",
    "outside_filter",
    "outside_key_scope",
    "refused_by_policy",
    "stale",
    "under_min_score",
]

EXPECTED_MODEL_STAGE_VALUES: set[ExpectedModelStage] = {
    "beyond_candidates",
    "beyond_top_k",
    "excluded_by_words",
    "found",
    "grouped",
    "not_embedded",
    "not_in_release",
    "not_in_source",
    "not_probed",
    "outside_filter",
    "outside_key_scope",
    "refused_by_policy",
    "stale",
    "under_min_score",
}


def check_expected_model_stage(value: str) -> ExpectedModelStage:
    if value in EXPECTED_MODEL_STAGE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {EXPECTED_MODEL_STAGE_VALUES!r}"
    )
