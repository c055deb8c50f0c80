"""The hash of a version's sources: the same files have the same hash on every machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from rag_assets.bible.files import home_of, opened_sources


def folder_hash(folder: Path, *, most_bytes: int) -> str:
    """SHA-256 (hex) over the relative names and the contents of the source files.

    Times, owners and the order of listing do not count, nor does the declaration.

    :raises CorpusError: a file cannot be read, or they hold more than ``most_bytes`` together.
    """
    return combined_hash(
        (file.name, hashlib.file_digest(stream, "sha256").digest())
        for file, stream, _ in opened_sources(folder, most_bytes=most_bytes)
    )


def combined_hash(files: Iterable[tuple[str, bytes]]) -> str:
    """The hash of a folder from the relative names, in order, and SHA-256 digests of its files."""
    total = hashlib.sha256()
    for name, digest in files:
        # The name ends at NUL, which no name holds, and the digest has a fixed length:
        # no two folders give the same bytes.
        total.update(os.fsencode(name) + b"\x00" + digest)
    return total.hexdigest()


def last_touched(folder: Path) -> float:
    """When anything below the folder was last written, moved or deleted (seconds since 1970).

    The inode's change time: a copy that keeps modification times (``cp -p``, ``rsync``) sets it.

    :raises CorpusError: the folder is a link out of the folder that contains it.
    """
    home_of(folder)
    return max(path.lstat().st_ctime for path in (folder, *folder.rglob("*")))


class FolderHashes:
    """Hashes of folders, which are read again only if something in them was touched."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[object, str]] = {}

    def hash_of(self, folder: Path, *, most_bytes: int) -> str:
        """As :func:`folder_hash`, from memory if no file below the folder has changed since."""
        state = most_bytes, _state(folder)
        known = self._known.get(folder)
        if known is not None and known[0] == state:
            return known[1]
        found = folder_hash(folder, most_bytes=most_bytes)
        if (most_bytes, _state(folder)) == state:  # nothing changed while it was read
            self._known[folder] = state, found
        return found


def _state(folder: Path) -> frozenset[tuple[object, ...]]:
    """Names, sizes and times of everything below a folder; every write sets the change time."""
    paths = (folder, *folder.rglob("*"))
    links = [(path, path.lstat()) for path in paths]
    files = [(path, path.stat()) for path in paths if path.exists()]
    return frozenset(
        (str(path), is_.st_ino, is_.st_size, is_.st_mtime_ns, is_.st_ctime_ns)
        for path, is_ in (*links, *files)
    )
