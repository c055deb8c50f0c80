"""The commands of the guides: those that fenced blocks show, in order, whole."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "decisions" not in path.parts and path.name != "tutorial.md"
)
"""Readme and guides; the tutorial has a test of its own."""
_BLOCK = re.compile(r"^ *```(|sh|console)\n(.*?)^ *```", re.M | re.S)
_COMMENT = re.compile(r" +# .*$")
_PROGRAM = re.compile(
    r"(?:\w+=\S+ )*(?:rag-assets|make|curl|docker|kubectl|helm|psql|pg_\w+)(?= |$)"
)


def commands(path: Path) -> Iterator[str]:
    """Every command, with its continuation lines, without its comment."""
    for _, block in _BLOCK.findall(path.read_text("utf-8")):
        lines = iter(block.splitlines())
        prompted = any(line.startswith("$ ") for line in block.splitlines())
        for line in lines:
            command = line.strip().removeprefix("$ ")
            if (prompted and not line.startswith("$ ")) or not _PROGRAM.match(command):
                continue
            while not _whole(command):
                command += "\n" + next(lines)
            yield _COMMENT.sub("", command)


def _whole(command: str) -> bool:
    """Whether the shell would not wait for another line."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return not command.endswith("\\")
