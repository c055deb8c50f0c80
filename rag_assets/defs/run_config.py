"""Launchpad options, which are validated before a run does any work.

Dagster's launchpad checks only types and enumerations. A launch that its code server refuses for
any other reason is answered with HTTP 500 and a stack trace, so bounds and conflicting options fail
the run in its first step.
"""

from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from pydantic import Field, ValidationError

from rag_assets.defs import dagster_private
from rag_assets.defs.failures import as_failures
from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import bounds
from rag_assets.visible import reworded

LARGEST = 2**31 - 1
"""Of PostgreSQL's integers, and so of numbers of rows."""


class RunConfig(dg.Config):
    """Options for one step of a run.

    Dagster creates it in the step, so invalid options fail the step before it does anything.
    """

    def __init__(self, **given: Any) -> None:
        """Validate the options.

        :raises dagster.Failure: names each invalid option, and its value.
        """
        with as_failures():
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise ConfigurationError(
                    f"the run's configuration is invalid: {'; '.join(map(_fault, error.errors()))}"
                ) from None
            self.check()

    def check(self) -> None:
        """Refuse invalid combinations of options.

        :raises ConfigurationError: names the options and the fix.
        """

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Validate options outside of the step that they are for.

        :raises ConfigurationError: names each invalid option, and its value.
        """
        try:
            return cls(**given)
        except dg.Failure as failure:
            raise ConfigurationError(str(failure.description)) from None

    @classmethod
    def check_ahead(
        cls, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, op: str
    ) -> None:
        """Validate the options of a later step of this run, before an earlier one does its work.

        :raises ConfigurationError: names each invalid option, and its value.
        """
        given = dagster_private.options_of(context, op)
        if given is not None:
            cls.of(given)


def _fault(fault: Mapping[str, Any]) -> str:
    """One invalid option, in the words of the command line."""
    return f"{'.'.join(map(str, fault['loc']))}: {reworded(fault['msg'])}, not {fault['input']!r}"


def within(setting: str) -> Any:
    """Apply a setting's bounds to the option that overrides it; use in ``Annotated``."""
    found = bounds(setting)
    return Field(ge=found.ge, gt=found.gt, le=found.le, lt=found.lt)
