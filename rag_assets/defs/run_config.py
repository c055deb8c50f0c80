"""Launchpad entries that are checked before there is a run.

Dagster checks types and enumerations when a run is launched. It would find the bounds of a number,
and choices that exclude each other, only in the step that reads them, after the steps before it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import dagster as dg
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from rag_assets.defs import dagster_private
from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import bounds

LARGEST = 2**31 - 1
"""Of PostgreSQL's integers, and so of numbers of rows."""
_OUT_OF_RANGE = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})


class RunConfig(dg.Config):
    """What an operator or a sensor can choose for one step of a run."""

    def check(self) -> None:
        """Refuse what single entries do not show.

        :raises ConfigurationError: says which entries, and what to write.
        """

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The choices of one run.

        :raises ConfigurationError: names each entry that is out of its range, and its value.
        """
        try:
            config = cls(**given)
        except ValidationError as error:
            faults = "; ".join(map(cls._sentence, error.errors(include_url=False)))
            raise ConfigurationError(f"the run's configuration is wrong: {faults}") from None
        config.check()
        return config

    @classmethod
    def _sentence(cls, fault: ErrorDetails) -> str:
        """What is wrong with one entry; for a range in the words of the command line."""
        entry = ".".join(map(str, fault["loc"]))
        bounds = _bounds(cls.model_fields[str(fault["loc"][0])].metadata)
        if len(fault["loc"]) > 1 or fault["type"] not in _OUT_OF_RANGE:
            return f"{entry}: {fault['msg']}, not {fault['input']!r}"
        return f"{entry}: {fault['input']} is not in the range {_described(bounds)}"


def _bounds(rules: Iterable[object]) -> dict[str, float]:
    return {
        name: getattr(rule, name)
        for rule in rules
        for name in ("ge", "gt", "le", "lt")
        if getattr(rule, name, None) is not None
    }


def _described(bounds: Mapping[str, float]) -> str:
    """A range as Click writes it: ``1<=x<=2048``, or ``x>=1`` with one end."""
    low = [(bounds[name], sign) for name, sign in (("ge", "<="), ("gt", "<")) if name in bounds]
    high = [f"{sign}{bounds[name]}" for name, sign in (("le", "<="), ("lt", "<")) if name in bounds]
    if low and high:
        return f"{low[0][0]}{low[0][1]}x{high[0]}"
    return f"x{high[0]}" if high else f"x{low[0][1].replace('<', '>')}{low[0][0]}"


def within(setting: str) -> Any:
    """The bounds of a setting, for the entry that replaces it in one run; use in ``Annotated``."""
    found = bounds(setting)
    return Field(ge=found.ge, gt=found.gt, le=found.le, lt=found.lt)


def check_before_runs(op: dg.OpDefinition, config: type[RunConfig]) -> None:
    """Let Dagster refuse a run whose configuration of this op is wrong, before it exists."""
    dagster_private.check_before_runs(op, config.of)
