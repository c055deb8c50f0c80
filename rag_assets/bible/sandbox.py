"""Read a Bible version in a child process: one that takes too much ends only that child.

What is read, and how, belongs to :mod:`.reader`; what the child does to :mod:`.child`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rag_assets.bible.files import opened_sources, source_files
from rag_assets.bible.fingerprint import combined_hash
from rag_assets.bible.limits import ReadingLimits
from rag_assets.bible.model import BibleText, Oddity, OddityKind, Verse
from rag_assets.errors import CorpusError, ExtractionInterruptedError
from rag_assets.sandbox.child_process import (
    ChildError,
    ChildProcess,
    CrashedError,
    OutOfMemoryError,
    OutOfTimeError,
)

_MODULE = "rag_assets.bible.child"


@dataclass(frozen=True)
class ReadVersion:
    """A version as it was read.

    :param source_hash: of the very bytes that were read; equal to that of
        :func:`.fingerprint.folder_hash` while nothing changes.
    """

    bible: BibleText
    source_hash: str


def read_version(
    folder: Path, limits: ReadingLimits, *, on_file: Callable[[Path], None] = lambda _: None
) -> ReadVersion:
    """Read all source files below ``folder`` (or ``folder`` itself, if it is one file).

    Each is opened once, here, without following a link out of the folder, and goes to the child as
    an open file.

    :param on_file: called with each file before it is read, in the order of their names.
    :raises CorpusError: a file cannot be read or makes no sense, or the version reaches a limit of
        size, memory or time, which the message names with its setting.
    :raises ExtractionInterruptedError: the child ended without having reached a limit.
    """
    source_files(folder)  # finds most faults without a process
    child = ChildProcess(
        _MODULE,
        {"memory_bytes": limits.memory_bytes, "seconds": limits.seconds},
        memory_bytes=limits.memory_bytes,
    )
    try:
        child.wait_until_ready()
        return _Reading(child, folder, limits).run(on_file)
    except ChildError as error:
        raise _explained(error, folder, limits) from None
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise _damaged(folder, "with an answer that is malformed") from error
    finally:
        child.kill()


class _Reading:
    """One version, read by one child."""

    def __init__(self, child: ChildProcess, folder: Path, limits: ReadingLimits) -> None:
        self._child = child
        self._folder = folder
        self._limits = limits
        self._ends = time.monotonic() + limits.seconds

    def run(self, on_file: Callable[[Path], None]) -> ReadVersion:
        hashes: list[tuple[str, bytes]] = []
        for file, stream, size in opened_sources(self._folder, most_bytes=self._limits.most_bytes):
            on_file(file.path)
            answer, _ = self._ask({"path": str(file.path), "bytes": size}, stream)
            hashes.append((file.name, bytes.fromhex(answer["sha256"])))
        request = {"folder": str(self._folder), "most_bytes": self._limits.most_bytes}
        answer, lines = self._ask(request, None)
        bible = BibleText(
            format=str(answer["format"]),
            verses=tuple(map(_verse, _rows(lines, answer["verses"]))),
            reference_count=int(answer["reference_count"]),
            oddities=tuple(map(_oddity, _rows(lines, answer["oddities"]))),
        )
        return ReadVersion(bible, combined_hash(hashes))

    def _ask(
        self, request: dict[str, Any], stream: BinaryIO | None
    ) -> tuple[dict[str, Any], Iterator[bytes]]:
        """The first line of an answer, and the lines after it."""
        lines = self._child.ask(request, stream, seconds=max(0, self._ends - time.monotonic()))
        answer: dict[str, Any] = json.loads(next(lines))
        if "refused" in answer:
            path = self._folder / answer["name"]
            raise CorpusError(path, answer["refused"], line=answer["line"])
        if "memory" in answer:
            raise self._child.out_of_memory()
        if "failed" in answer:
            raise CorpusError(
                self._folder, f"cannot be read ({answer['failed']}): fetch its files again"
            )
        return answer, lines


def _rows(lines: Iterator[bytes], count: int) -> Iterator[list[Any]]:
    while count > 0:
        rows = json.loads(next(lines))
        if not rows:
            raise ValueError("fewer rows than announced")
        count -= len(rows)
        yield from rows


def _verse(row: list[Any]) -> Verse:
    book, chapter, verse, verse_end, text = row
    numbers = (chapter, verse, verse_end)
    if type(book) is str and type(text) is str and all(type(number) is int for number in numbers):
        return Verse(book, chapter, verse, verse_end, text)
    raise TypeError(f"{row!r:.100} is not a verse")


def _oddity(row: list[Any]) -> Oddity:
    kind, reference, detail = row
    return Oddity(OddityKind(kind), str(reference), str(detail))


def _explained(error: ChildError, folder: Path, limits: ReadingLimits) -> Exception:
    """What the end of the child means for the version that it read."""
    one_version = "keep the text of one version in it, or raise"
    if isinstance(error, OutOfMemoryError):
        return CorpusError(folder, f"reading it {error}: {one_version} RAG_BIBLE_MEMORY_MB")
    if isinstance(error, OutOfTimeError):
        took = f"reading it took more than {limits.seconds:g} s"
        return CorpusError(folder, f"{took}: {one_version} RAG_BIBLE_TIMEOUT_S")
    if isinstance(error, CrashedError):
        return _damaged(folder, str(error))
    return ExtractionInterruptedError(
        f"{folder}: the process that read it {error}: start it again. If it ends each time, "
        "raise RAG_BIBLE_TIMEOUT_S"
    )


def _damaged(folder: Path, how: str) -> CorpusError:
    return CorpusError(
        folder, f"it ended the process that read it ({how}): a file is damaged, fetch it again"
    )
