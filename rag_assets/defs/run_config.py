"""Launchpad entries that are checked before there is a run.

Dagster checks types and enumerations when a run is launched. It would find the bounds of a number,
and choices that exclude each other, only in the step that reads them, after the steps before it.
"""

from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from pydantic import Field, ValidationError

from rag_assets.defs import dagster_private
from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import bounds

LARGEST = 2**31 - 1
"""Of PostgreSQL's integers, and so of numbers of rows."""


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
            # Pydantic's words are those of the command line, too.
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, not {fault['input']!r}"
                for fault in error.errors(include_url=False)
            )
            raise ConfigurationError(f"the run's configuration is wrong: {faults}") from None
        config.check()
        return config


def within(setting: str) -> Any:
    """The bounds of a setting, for the entry that replaces it in one run; use in ``Annotated``."""
    found = bounds(setting)
    return Field(ge=found.ge, gt=found.gt, le=found.le, lt=found.lt)


def check_before_runs(op: dg.OpDefinition, config: type[RunConfig]) -> None:
    """Let Dagster refuse a run whose configuration of this op is wrong, before it exists."""
    dagster_private.check_before_runs(op, config.of)
