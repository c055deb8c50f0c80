"""Which files a version consists of, and their bytes and characters.

Nothing here knows a format. Paths never lead outside the folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from rag_assets.errors import CorpusError

DECLARATION = "version.toml"
"""The declaration beside the sources: no source itself."""


def source_files(folder: Path) -> tuple[Path, ...]:
    """All source files below ``folder`` (or ``folder`` itself, if it is one file), sorted.

    Dot files, dot folders and the declaration are left out.

    :raises CorpusError: when there is none, or a symbolic link leads outside.
    """
    if folder.is_file():
        return (folder,)
    if not folder.is_dir():
        raise CorpusError(folder, "there is no such folder: create it or correct the path")
    root = folder.resolve()
    found: list[Path] = []
    for parent, names, file_names in os.walk(folder, onerror=_refuse_unreadable):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in (*names, *file_names):
            path = Path(parent, name)
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise CorpusError(path, "a link out of the folder: put the file itself here")
        found.extend(
            path
            for name in file_names
            if not name.startswith(".") and name != DECLARATION and (path := Path(parent, name))
        )
    for path in found:
        if not path.is_file():
            raise CorpusError(path, "not a regular file: remove it")
    if not found:
        raise CorpusError(folder, "the folder holds no source file: put the version's files here")
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def _refuse_unreadable(error: OSError) -> None:
    path = Path(error.filename or "")
    raise CorpusError(path, f"cannot be listed ({error.strerror}): correct its permissions")


def read_bytes(path: Path) -> bytes:
    """The whole file.

    :raises CorpusError: when it cannot be read or is empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = f"cannot be read ({error.strerror}): correct its permissions"
        raise CorpusError(path, reason) from error
    if not data.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"):
        raise CorpusError(path, "the file is empty: fetch it again or remove it", line=1)
    return data


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
