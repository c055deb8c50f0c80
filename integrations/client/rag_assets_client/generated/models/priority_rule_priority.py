from typing import Literal

PriorityRulePriority = Literal["high", "low", "normal"]

PRIORITY_RULE_PRIORITY_VALUES: set[PriorityRulePriority] = {
    "high",
    "low",
    "normal",
}


def check_priority_rule_priority(value: str) -> PriorityRulePriority:
    if value in PRIORITY_RULE_PRIORITY_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {PRIORITY_RULE_PRIORITY_VALUES!r}"
    )
