"""Launchpad options that are validated before a run is created.

Dagster checks only types and enumerations at launch. Bounds and conflicting options would otherwise
be detected in the step that reads them, after earlier steps have done their work.
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
    """Options for one step of a run."""

    def check(self) -> None:
        """Refuse invalid combinations of options.

        :raises ConfigurationError: names the options and the fix.
        """

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Validate the options of one run.

        :raises ConfigurationError: names each option out of range, and its value.
        """
        try:
            config = cls(**given)
        except ValidationError as error:
            # Pydantic's words are those of the command line, too.
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, not {fault['input']!r}"
                for fault in error.errors(include_url=False)
            )
            raise ConfigurationError(f"the run's configuration is invalid: {faults}") from None
        config.check()
        return config


def within(setting: str) -> Any:
    """Apply a setting's bounds to the option that overrides it; use in ``Annotated``."""
    found = bounds(setting)
    return Field(ge=found.ge, gt=found.gt, le=found.le, lt=found.lt)


def check_before_runs(op: dg.OpDefinition, config: type[RunConfig]) -> None:
    """Make Dagster refuse to create a run if this op's configuration is invalid."""
    dagster_private.check_before_runs(op, config.of)
