"""The files of a zip archive, in memory: nothing of it is ever written to disk.

An archive is not trusted: none of its names is used as a path, and it is read up to a limit.
"""

from __future__ import annotations

import io
import lzma
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from rag_assets.errors import CorpusError

MOST_ENTRIES = 5_000
"""A bundle of the Digital Bible Library has about 200."""

_LEADS_OUT = re.compile(r"/|[A-Za-z]:|(?:.*/)?\.\.(?:/|\Z)")
_DAMAGE = (BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


def unzipped(path: Path, data: bytes, *, most_bytes: int) -> dict[Path, bytes]:
    """The archive's files by their paths below ``path``, in order; dot files are left out.

    :raises CorpusError: it is damaged or encrypted, holds more than ``most_bytes`` or too many
        files, a link, or a name that leads out of it.
    """
    found: dict[Path, bytes] = {}
    left = most_bytes
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            for name, entry in _entries(path, archive):
                inner = path / name
                if inner in found:
                    raise CorpusError(inner, "is in the archive twice: fetch it again")
                with archive.open(entry) as stream:
                    content = stream.read(left + 1)
                left -= len(content)
                if left < 0:
                    reason = (
                        f"its files hold more than {most_bytes >> 20:,} MB: keep the text of one "
                        "version in it, or raise RAG_BIBLE_MAX_MB"
                    )
                    raise CorpusError(path, reason)
                found[inner] = content
    except NotImplementedError as error:
        reason = f"is compressed in a way that is not read ({error}): unpack it here instead"
        raise CorpusError(path, reason) from error
    except _DAMAGE as error:
        raise CorpusError(path, f"is a damaged zip file ({error}): fetch it again") from error
    return found


def _entries(path: Path, archive: ZipFile) -> Iterator[tuple[str, ZipInfo]]:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        reason = f"holds {len(entries):,} files, more than {MOST_ENTRIES:,}: unpack what is needed"
        raise CorpusError(path, reason)
    for entry in sorted(entries, key=lambda entry: entry.filename):
        name = entry.filename.replace("\\", "/")  # as some tools for Windows write it
        if _LEADS_OUT.match(name):
            raise CorpusError(path, f"holds {entry.filename!r}, a name that leads out of it")
        if entry.flag_bits & 0x1:
            raise CorpusError(path, f"{entry.filename} is encrypted: unpack it here instead")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise CorpusError(path, f"{entry.filename} is a link: unpack the archive here instead")
        hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
        if not (name.endswith("/") or hidden):
            yield name, entry
