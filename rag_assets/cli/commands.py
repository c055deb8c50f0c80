"""How commands are declared: what is so for each of them and for each group.

The docstring of a command, and the ``help`` of a group, end with examples in a fenced block. A test
parses each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException

from rag_assets.cli.options import LARGEST
from rag_assets.cli.outdated import present_command, present_option
from rag_assets.visible import reworded


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        """Its arguments and options, ``--help`` included."""
        return _with_short_types(super().get_params(ctx), ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; a value that is refused is so in our words, not in Pydantic's."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = reworded(error.message)
            raise
        except TyperException as error:
            known = {option for param in self.params for option in param.opts}
            if present := present_option(getattr(error, "option_name", ""), known):
                error.message = present
                error.possibilities = []  # type: ignore[attr-defined]
            raise


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        """Its options, ``--help`` and those for completion included."""
        return _with_short_types(super().get_params(ctx), ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; one of an earlier runbook is answered with what replaces it."""
        try:
            return super().resolve_command(ctx, args)
        except TyperException as error:
            if present := present_command(args[0]):
                error.message = f"{args[0]} is now `{present}`: see docs/operations/old-runbooks.md"
            raise


class Commands(typer.Typer):
    """A group of commands; without a command it shows its help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        """Declare a command, as Typer does."""
        return super().command(name, cls=_Command, **options)


def _with_short_types(params: list[Any], ctx: Any) -> list[Any]:
    """Show ``1..100`` for ``<int range> [1<=x<=100]``, and nothing for ``<bool>``."""
    for param in params:
        shown = _short_type(param, ctx)
        param.display_type_rich = lambda ctx, shown=shown: shown  # noqa: ARG005
        param._get_number_range_help_str = lambda: None
    return params


def _short_type(param: TyperOption | TyperArgument, ctx: Any) -> str:
    kind = param.type_descriptor
    if kind.is_choice:
        return param.display_type(ctx).strip("<>")
    if isinstance(param, TyperArgument) or param.is_flag:
        return ""
    if kind.is_ranged:
        bounded = param.max is not None and param.max < LARGEST
        return f"{param.min or 0}..{param.max}" if bounded else "N"
    return param.metavar or ("PATH" if kind.is_path else param.opts[0].lstrip("-").upper())
