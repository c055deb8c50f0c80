"""What commands print: tables for people, JSON for programs, one sentence for an error."""

from __future__ import annotations

import dataclasses
import json
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typer.exceptions import TyperException

from rag_assets.errors import RagAssetsError, reason_of
from rag_assets.progress import LogLines, Progress, never_silent
from rag_assets.secrecy import masked
from rag_assets.visible import count, visible, visible_json, visible_lines

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_UNLIMITED = 1_000_000  # columns where lines go to a file or another program


class Terminal(Console):
    """A console on which a text is one line, and only our own styles do anything to the screen.

    A text of several lines is passed as several, with ``sep="\\n"``, so a line end in a name can
    never look like one of ours. Brackets in a text that is not ours are escaped by :func:`plain`.
    On a terminal, and wherever ``COLUMNS`` is set, lines wrap between words; elsewhere they do not.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    @property
    def size(self) -> ConsoleDimensions:
        """Columns and lines; the environment is read when something is printed, not on import."""
        limited = self.is_terminal or "COLUMNS" in os.environ
        return super().size if limited else ConsoleDimensions(_UNLIMITED, 25)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a line of it before it is measured for a table."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Escape what acts on the screen in everything else that is printed, such as Markdown."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible_lines(segment.text), segment.style)


out = Terminal()
err = Terminal(stderr=True)


def plain(text: object) -> str:
    """Escape a text that is not ours, for use in a text with styles."""
    return escape(visible(str(text)))


def remark(message: str) -> None:
    """Print a sentence to standard error, unchanged."""
    err.print(message, markup=False)


def show_json(value: object) -> None:
    """One JSON document on standard output."""
    # Flushed: a program that reads `up --json` through a pipe waits for it.
    document = json.dumps(value, default=_jsonable, ensure_ascii=False, indent=2)
    print(visible_json(document), flush=True)  # noqa: T201


def show_table(rows: Sequence[Mapping[str, object]], *, empty: str) -> None:
    """Rows as a table with their keys as headings; as paragraphs where it does not fit."""
    if not rows:
        out.print(empty)
        return
    headings = [name.replace("_", " ") for name in rows[0]]
    lines = [[out.render_str(_cell(value)) for value in row.values()] for row in rows]
    columns = list(zip(map(out.render_str, headings), *lines, strict=True))
    for gap in (2, 1):
        if widths := _widths(columns, out.width - gap * (len(columns) - 1)):
            table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gap, 0, 0))
            for value, heading, width in zip(rows[0].values(), headings, widths, strict=True):
                number = isinstance(value, int | float) and not isinstance(value, bool)
                table.add_column(heading, justify="right" if number else "left", width=width)
            for line in lines:
                table.add_row(*line)
            out.print(table)
            return
    for row in rows:
        (name, title), *fields = row.items()
        known = (
            f"{name.replace('_', ' ')} {_cell(value)}"
            for name, value in fields
            if value is not None
        )
        title = f"{name} {title}" if isinstance(title, int) else title
        out.print(f"[bold]{_cell(title)}[/bold]", indented("; ".join(known), 2), sep="\n")


def _widths(columns: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """Widths that cut no word, or ``None``; the longest texts get what is left over."""
    words = ((word for text in cells for word in text.plain.split()) for cells in columns)
    widths = [max(map(cell_len, of_column), default=0) for of_column in words]
    spare = room - sum(widths)
    if spare < 0:
        return None
    wanted = [max(text.cell_len for text in cells) for cells in columns]
    for column in sorted(range(len(columns)), key=lambda one: wanted[one] - widths[one]):
        given = min(spare, wanted[column] - widths[column])
        widths[column] += given
        spare -= given
    return widths


def show_record(record: Mapping[str, object]) -> None:
    """One thing, one line per field."""
    show_pairs(
        (f"[bold]{name.replace('_', ' ')}[/bold]", _cell(value)) for name, value in record.items()
    )


def show_pairs(pairs: Iterable[tuple[str, str | Text]]) -> None:
    """Names and what is said of each, in two columns; both are texts with styles."""
    rows = [
        (out.render_str(name), text if isinstance(text, Text) else out.render_str(text))
        for name, text in pairs
    ]
    width = max((name.cell_len for name, _ in rows), default=0)
    for name, text in rows:
        name.align("left", width)
        for line in text.wrap(out, max(out.width - width - 2, 10)):
            whole = Text.assemble(name, "  ", line)
            whole.rstrip()
            out.print(whole)
            name = Text(" " * width)  # noqa: PLW2901 -- lines below the first stand beside none


def indented(text: str, columns: int) -> RenderableType:
    """A text with styles, each of its lines set in."""
    return Padding(out.render_str(text), (0, 0, 0, columns), expand=False)


def show_failures(of: str, failures: Iterable[str]) -> None:
    """What failed of one thing, one line per failure."""
    for failure in failures:
        out.print(f"[red]{of}[/red] {plain(failure)}")


def show_waiting(of: str, texts: int, due: datetime | None) -> None:
    """A line on texts that are in the provider's batches."""
    if texts:
        by = f", due {due:%Y-%m-%d %H:%M} UTC" if due else ""
        out.print(f"{of}: {count(texts, 'text')} in batches at the provider{by}: `rag-assets up` "
                  "takes the results in")  # fmt: skip


def show_reasons(reasons: Iterable[object]) -> None:
    """Why something was refused, one line per reason, below a sentence that says what."""
    for reason in reasons:
        out.print(indented(f"[red]{plain(reason)}[/red]", 2))


@contextmanager
def errors_as_sentences(as_json: bool = False) -> Iterator[None]:
    """End the command with status 1 and the reason when an error ends it."""
    try:
        yield
    except (typer.Exit, typer.Abort, TyperException, BrokenPipeError):
        raise
    except Exception as error:
        show_error(error, as_json=as_json)
        raise typer.Exit(1) from None


def show_error(error: Exception, *, as_json: bool = False) -> None:
    """Print an error raised on purpose as a sentence; any other with its trace and class."""
    foreseen = isinstance(error, RagAssetsError)
    if not foreseen:
        trace = "".join(traceback.format_exception(error))
        err.print(*masked(trace).rstrip("\n").split("\n"), sep="\n", markup=False, style="dim")
    reason = reason_of(error)
    if as_json:
        show_json({"error": type(error).__name__, "message": reason})
        return
    report = "" if foreseen else ". This is a bug in rag-assets: report it with the traceback above"
    err.print(f"[red]error:[/red] {plain(reason + report)}")


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """Bars on a terminal, log lines elsewhere; on standard error, so that JSON stays clean."""
    if quiet or not err.is_terminal:
        with never_silent(LogLines(remark)) as progress:
            yield progress
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
    """One bar per task."""

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
            short = abs(value) >= 1 or value == round(value, 1)
            return f"{value:,.1f}" if short else f"{value:.4f}"
        case int():
            return f"{value:,}"
        case Mapping():
            return ", ".join(f"{plain(key)} {_cell(one)}" for key, one in value.items())
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
