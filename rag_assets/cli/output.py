"""How the commands speak: tables for people, JSON for programs, one sentence for an error."""

from __future__ import annotations

import dataclasses
import json
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typer.exceptions import TyperException

from rag_assets.errors import RagAssetsError, reason_of
from rag_assets.progress import LogLines, Progress
from rag_assets.secrecy import masked
from rag_assets.visible import visible, visible_json, visible_lines

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_PIPE_WIDTH = 160  # columns where there is no terminal to ask


class Terminal(Console):
    """A console on which a text is one line, and only our own styles do anything to the screen.

    A text of several lines is given as several, with ``sep="\\n"``: so a line's end in a name can
    never look like one of ours. Brackets in what is not ours are :func:`plain`'s part.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a line of it, before it is measured for a table."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Whatever else is printed, such as Markdown."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible_lines(segment.text), segment.style)


out = Terminal(highlight=False, emoji=False, soft_wrap=True)
err = Terminal(stderr=True, highlight=False, emoji=False, soft_wrap=True)
for console in (out, err):
    if not console.is_terminal:
        console.width = _PIPE_WIDTH


def plain(text: object) -> str:
    """For a text with styles: what is not ours, without effect."""
    return escape(visible(str(text)))


def remark(message: str) -> None:
    """A sentence on standard error, as it is."""
    err.print(message, markup=False)


def show_json(value: object) -> None:
    """One JSON document on standard output."""
    # Flushed: whoever reads `up --json` through a pipe waits for it.
    document = json.dumps(value, default=_jsonable, ensure_ascii=False, indent=2)
    print(visible_json(document), flush=True)  # noqa: T201


def show_table(rows: Sequence[Mapping[str, object]], *, empty: str) -> None:
    """Rows as a table, with their keys as headings."""
    if not rows:
        out.print(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, value in rows[0].items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table)


def show_record(record: Mapping[str, object]) -> None:
    """One thing, a line a field."""
    width = max(map(len, record))
    for name, value in record.items():
        out.print(f"[bold]{name:<{width}}[/bold]  {_cell(value)}")


def show_failures(of: str, failures: Iterable[str]) -> None:
    """What failed of one thing, a line each."""
    for failure in failures:
        out.print(f"[red]{of}[/red] {plain(failure)}")


def show_reasons(reasons: Iterable[object]) -> None:
    """Why something was refused, a line each, under a sentence that says what."""
    for reason in reasons:
        out.print(f"  [red]{plain(reason)}[/red]")


@contextmanager
def errors_as_sentences(as_json: bool = False) -> Iterator[None]:
    """End the command with status 1 and the reason of whatever error ends it."""
    try:
        yield
    except (typer.Exit, typer.Abort, TyperException, BrokenPipeError):
        raise
    except Exception as error:
        show_error(error, as_json=as_json)
        raise typer.Exit(1) from None


def show_error(error: Exception, *, as_json: bool = False) -> None:
    """The sentence of an error raised on purpose; of any other its trace, class and words."""
    foreseen = isinstance(error, RagAssetsError)
    if not foreseen:
        trace = "".join(traceback.format_exception(error))
        err.print(*masked(trace).rstrip("\n").split("\n"), sep="\n", markup=False, style="dim")
    reason = reason_of(error)
    if as_json:
        show_json({"error": type(error).__name__, "message": reason})
        return
    report = "" if foreseen else ". This is a fault of rag-assets: report it with the trace above"
    err.print(f"[red]error:[/red] {plain(reason + report)}")


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """Bars on a terminal, log lines elsewhere; on standard error, so that JSON stays clean."""
    if quiet or not err.is_terminal:
        yield LogLines(remark)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=err) as rich:
        yield _Bars(rich)


class _Bars:
    """A bar a task."""

    def __init__(self, rich: RichProgress) -> None:
        self._rich = rich
        self._task = rich.add_task("", visible=False)

    def start(self, task: str, total: int) -> None:
        self._task = self._rich.add_task(task, total=total)

    def advance(self, steps: int) -> None:
        self._rich.advance(self._task, steps)

    def say(self, message: str) -> None:
        self._rich.console.print(message, markup=False)


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4f}" if 0 < abs(value) < 1 else f"{value:,.1f}"
        case int():
            return f"{value:,}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case _:
            return plain(value)


def _jsonable(value: Any) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return str(value)
