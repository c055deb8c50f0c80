"""What a version's sources are, as one number: the same text gives the same one anywhere."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rag_assets.corpus.bible.files import source_files


def folder_hash(folder: Path) -> str:
    """SHA-256 (hex) over the relative names and the contents of the source files.

    Times, owners and the order of listing do not count, nor does the declaration.
    """
    total = hashlib.sha256()
    for path in source_files(folder):
        name = path.relative_to(folder).as_posix() if path != folder else path.name
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        # The name ends at NUL, which no name holds, and the digest has a fixed length:
        # no two folders give the same bytes.
        total.update(os.fsencode(name) + b"\x00" + content)
    return total.hexdigest()


def last_touched(folder: Path) -> float:
    """When anything below the folder was last written, moved or deleted (seconds since 1970).

    The inode's change time: a copy that keeps modification times (``cp -p``, ``rsync``) sets it.
    """
    return max(path.lstat().st_ctime for path in (folder, *folder.rglob("*")))
