"""The process that reads one Bible version, for :func:`.sandbox.read_version`.

It takes the version's files one by one and answers each with the hash of what it has read; then it
returns the version's verses and oddities, or what is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from rag_assets.bible.model import BibleText
from rag_assets.bible.reader import parse_bible
from rag_assets.errors import CorpusError
from rag_assets.sandbox.child_service import serve

BATCH = 500
"""Verses or oddities in one line of an answer."""


def main() -> None:
    """Answer until the input ends. What the process may take is the only argument, as JSON."""
    bounds = json.loads(sys.argv[1])
    serve(_Version().answer, memory_bytes=bounds["memory_bytes"], seconds=bounds["seconds"])


class _Version:
    """The version that is being read."""

    def __init__(self) -> None:
        self._files: dict[Path, bytes] = {}

    def answer(self, request: dict[str, Any], file: FileIO | None) -> Iterator[Any]:
        """Take a file or, when none comes with the request, read the version."""
        if file is not None:
            data = BufferedReader(file).read(request["bytes"])
            self._files[Path(request["path"])] = data
            yield {"sha256": hashlib.sha256(data).hexdigest()}
            return
        folder = Path(request["folder"])
        try:
            bible = parse_bible(folder, self._files, most_bytes=request["most_bytes"])
        except CorpusError as error:
            name = os.path.relpath(error.path, folder)
            yield {"refused": error.reason, "name": name, "line": error.line}
        else:
            yield from _lines(bible)


def _lines(bible: BibleText) -> Iterator[Any]:
    verses = [(v.book, v.chapter, v.verse, v.verse_end, v.text) for v in bible.verses]
    oddities = [(oddity.kind, oddity.reference, oddity.detail) for oddity in bible.oddities]
    yield {
        "format": bible.format,
        "reference_count": bible.reference_count,
        "verses": len(verses),
        "oddities": len(oddities),
    }
    for rows in (verses, oddities):
        for start in range(0, len(rows), BATCH):
            yield rows[start : start + BATCH]


if __name__ == "__main__":
    main()
