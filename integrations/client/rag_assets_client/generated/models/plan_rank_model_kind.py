from typing import Literal

PlanRankModelKind = Literal["codes", "exact", "iterative", "ivfflat"]

PLAN_RANK_MODEL_KIND_VALUES: set[PlanRankModelKind] = {
    "codes",
    "exact",
    "iterative",
    "ivfflat",
}


def check_plan_rank_model_kind(value: str) -> PlanRankModelKind:
    if value in PLAN_RANK_MODEL_KIND_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {PLAN_RANK_MODEL_KIND_VALUES!r}"
    )
