"""Which files a version consists of, and their bytes and characters.

No format is known here. Paths never lead outside the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from rag_assets.errors import CorpusError
from rag_assets.sandbox.beneath import RefusedFileError, open_file

DECLARATION = "version.toml"
"""The declaration beside the sources; not a source itself."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a version.

    :param path: by which it is known.
    :param name: its path below the version's folder, with slashes.
    :param place: where it is, below the folder ``root``; neither holds a link.
    """

    path: Path
    name: str
    root: str
    place: str


def home_of(folder: Path) -> str:
    """The real path of a version's folder, or of its only file.

    :raises CorpusError: it is a link out of the folder that contains it.
    """
    home = os.path.realpath(folder)
    if not Path(home).is_relative_to(os.path.realpath(folder.parent)):
        reason = f"a link out of {folder.parent}: put the version's files themselves there"
        raise CorpusError(folder, reason)
    return home


def source_files(folder: Path) -> tuple[SourceFile, ...]:
    """All source files below ``folder`` (or ``folder`` itself, if it is one file), sorted.

    Dot files, dot folders and the declaration are left out. Links are followed within the folder.

    :raises CorpusError: when there is none, or a symbolic link leads outside.
    """
    home = home_of(folder)
    if folder.is_file():
        return (source_file(folder, folder, home),)
    if not folder.is_dir():
        raise CorpusError(folder, "there is no such folder: create it or correct the path")
    found: list[SourceFile] = []
    faults: list[CorpusError] = []
    for parent, names, file_names in os.walk(folder, onerror=_refuse_unreadable):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in (*names, *file_names):
            try:
                file = source_file(folder, Path(parent, name), home)
            except CorpusError as error:
                faults.append(error)
                continue
            if name in file_names and not name.startswith(".") and name != DECLARATION:
                found.append(file)
    faults += [
        CorpusError(file.path, "not a regular file: remove it")
        for file in found
        if not file.path.is_file()
    ]
    raise_together(folder, faults)
    if not found:
        raise CorpusError(folder, "the folder holds no source file: put the version's files here")
    return tuple(sorted(found, key=lambda file: file.name))


def source_file(folder: Path, path: Path, home: str) -> SourceFile:
    """The file ``path`` of a version, by its real path below the version's folder.

    :param home: of ``folder``, see :func:`home_of`.
    :raises CorpusError: a link leads out of the folder.
    """
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(home):
        raise CorpusError(path, "a link out of the folder: put the file itself here")
    root = os.path.realpath(folder.parent)
    name = path.relative_to(folder).as_posix() if path != folder else path.name
    return SourceFile(path, name, root, os.path.relpath(real, root))


def _refuse_unreadable(error: OSError) -> None:
    path = Path(error.filename or "")
    raise CorpusError(path, f"cannot be listed ({error.strerror}): correct its permissions")


def opened(file: SourceFile) -> BufferedReader:
    """The file, opened without following a link or waiting for a writer.

    :raises CorpusError: it cannot be read, is no regular file, or has several hard links.
    """
    try:
        return open_file(file.root, file.place)
    except RefusedFileError as error:
        raise CorpusError(file.path, str(error)) from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror}): correct its permissions"
        raise CorpusError(file.path, reason) from error


def opened_sources(
    folder: Path, *, most_bytes: int
) -> Iterator[tuple[SourceFile, BufferedReader, int]]:
    """Each source file of a version, open until the next one is asked for, with its size in bytes.

    :raises CorpusError: as for :func:`source_files` and :func:`opened`, or they hold more than
        ``most_bytes`` together.
    """
    left = most_bytes
    files = source_files(folder)
    raise_together(folder, list(_faults(files)))
    for file in files:
        with opened(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            left -= size
            if left < 0:
                raise CorpusError(
                    folder,
                    f"its files hold more than {most_bytes >> 20:,} MB: keep the text of one "
                    "version in it, or raise RAG_BIBLE_MAX_MB",
                )
            yield file, stream, size


def _faults(files: Iterable[SourceFile]) -> Iterator[CorpusError]:
    for file in files:
        try:
            opened(file).close()
        except CorpusError as error:
            yield error


def raise_together(folder: Path, faults: Sequence[CorpusError]) -> None:
    """Raise what is wrong with a version's files as one error, so that one attempt shows all.

    :raises CorpusError: there is a fault; files with the same one are named beside each other.
    """
    if len(faults) == 1:
        raise faults[0]
    by_reason: dict[str, list[str]] = {}
    for fault in faults:
        name = os.path.relpath(fault.path, folder)
        line = f":{fault.line}" if fault.line is not None else ""
        by_reason.setdefault(fault.reason, []).append(name + line)
    if by_reason:
        named = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
        raise CorpusError(folder, f"{len(faults)} files cannot be read: {named}")


def refuse_empty(path: Path, data: bytes) -> None:
    """Raise CorpusError for a file that holds nothing, or blanks only."""
    if not data.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"):
        raise CorpusError(path, "the file is empty: fetch it again or remove it", line=1)


def decode(path: Path, data: bytes) -> str:
    """Characters of a text file: UTF-8 with or without BOM, or UTF-16 with BOM.

    Line ends become ``\\n``.

    :raises CorpusError: with the line of the first byte that is not valid.
    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(path, "not valid UTF-8: convert the file to UTF-8", line=line) from error
    nul = text.find("\x00")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        reason = "holds NUL characters (UTF-16 without BOM?): convert the file to UTF-8"
        raise CorpusError(path, reason, line=line)
    return text.replace("\r\n", "\n").replace("\r", "\n")
