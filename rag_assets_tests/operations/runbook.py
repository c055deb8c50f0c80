"""Runbooks as executable text: commands and expected output, by section, or by row of a table.

A block of the language ``console`` holds commands after ``$ `` and, below each, its output: ``…``
stands for anything, the width of gaps does not matter. ``<!-- given: a fault -->`` says what is
wrong in the blocks below it, up to the next heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WELL = "all is well"


@dataclass(frozen=True)
class Step:
    """One command with its output, as written."""

    command: str
    output: str

    def matches(self, printed: str) -> bool:
        """Whether the output matches the document."""
        pattern = ".*".join(re.escape(part) for part in _plain(self.output).split("…"))
        return re.fullmatch(pattern, _plain(printed), re.DOTALL) is not None


@dataclass(frozen=True)
class Section:
    """The executable contents of one section."""

    document: str
    heading: str
    given: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return f"{self.document}: {self.heading}"


def sections(path: Path) -> Iterator[Section]:
    """The sections of a document that contain commands, in order."""
    heading, given, steps = "", WELL, list[Step]()
    in_block = fenced = False
    for line in [*path.read_text("utf-8").splitlines(), "# end"]:
        if line.startswith("```"):
            in_block, fenced = line == "```console", not fenced
        elif line.startswith("#") and not fenced:
            if steps:
                yield Section(path.name, heading, given, tuple(steps))
            heading, given, steps = line.lstrip("# "), WELL, []
        elif found := re.fullmatch(r"<!-- given: (.+) -->", line):
            given = found.group(1)
        elif in_block and line.startswith("$ "):
            steps.append(Step(line.removeprefix("$ "), ""))
        elif in_block and steps:
            last = steps.pop()
            steps.append(Step(last.command, f"{last.output}{line}\n"))


@dataclass(frozen=True)
class Row:
    """A row of a table: an old command, the commands to type now, and what they show."""

    section: str
    given: str
    old: str
    now: tuple[str, ...]
    shown: tuple[str, ...]

    def missing(self, printed: str) -> list[str]:
        """What the commands should have shown and did not."""
        return [one for one in self.shown if not Step("", f"…{one}…").matches(printed)]


def rows(path: Path) -> Iterator[Row]:
    """The rows of a document's tables; of their second column, code that begins with a program."""
    heading, given = "", WELL
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            heading, given = line.lstrip("# "), WELL
        elif found := re.fullmatch(r"<!-- given: (.+) -->", line):
            given = found.group(1)
        elif line.startswith("| ") and "`" in line:
            old, now, shows = (cell.replace("\\|", "|") for cell in _CELLS.split(line)[1:-1])
            yield Row(heading, given, old.strip(), _programs(now), tuple(_code(shows)))


_CELLS = re.compile(r"(?<!\\)\|")
_PROGRAM = re.compile(r"(rag-assets|make|curl|grep|pg_dump) .+")


def _programs(cell: str) -> tuple[str, ...]:
    return tuple(one for one in _code(cell) if _PROGRAM.fullmatch(one))


def _code(cell: str) -> list[str]:
    return [one.strip() for _, one in re.findall(r"(`+)(.+?)\1", cell)]


def _plain(text: str) -> str:
    """With single spaces; around what stands for anything there is nothing to compare."""
    return re.sub(r" ?… ?", "…", " ".join(text.split()))
