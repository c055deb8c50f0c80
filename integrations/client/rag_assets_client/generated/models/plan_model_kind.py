from typing import Literal

PlanModelKind = Literal["codes", "exact", "iterative", "ivfflat"]

PLAN_MODEL_KIND_VALUES: set[PlanModelKind] = {
    "codes",
    "exact",
    "iterative",
    "ivfflat",
}


def check_plan_model_kind(value: str) -> PlanModelKind:
    if value in PLAN_MODEL_KIND_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {PLAN_MODEL_KIND_VALUES!r}"
    )
