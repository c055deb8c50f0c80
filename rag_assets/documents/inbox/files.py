"""Files of an inbox: which names are accepted or ignored, uploads, and document keys.

The storages themselves are :mod:`.local` and :mod:`.remote`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rag_assets.errors import DocumentTooLargeError, RequestError

MAX_PATH_BYTES = 1000
"""In UTF-8. Paths are indexed, and PostgreSQL limits index entries to 2,700 bytes."""
MAX_NAME_BYTES = 200
"""For names of new files: file systems allow 255, and a name has a suffix while it is written."""
UNFINISHED_PREFIX = ".adding-"

How = Literal["added", "replaced", "unchanged"]

_UNFINISHED = (".part", ".crdownload", ".tmp", ".partial", ".filepart", ".download")
_OF_SYSTEMS = ("thumbs.db", "desktop.ini")
_LONGEST_KEY = 120  # characters; a key is shown in lists, and Dagster's storage indexes it
_FOLDER = "__"
_KEPT = frozenset("._-")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of the inbox.

    :param path: below the inbox, with slashes.
    :param modified: the storage's mark of the last change, never empty. If it differs, the content
        may differ.
    :param age_s: seconds since the last change; ``inf`` if the storage does not report it.
    """

    path: str
    bytes: int
    modified: str
    age_s: float


@dataclass(frozen=True, slots=True)
class InboxTrouble:
    """Something in the inbox that cannot become a document, and the fix."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Listing:
    """The contents of an inbox.

    :param files: files that may become documents, ordered by path.
    :param unlisted: folders that cannot be listed, with a trailing slash.
    :param troubles: what an operator should check, including unlisted folders and refused files.
    :param refused: paths of files that must not be read; their documents stay unchanged.
    """

    files: tuple[FoundFile, ...]
    unlisted: tuple[str, ...] = ()
    troubles: tuple[InboxTrouble, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that was put into the inbox.

    :param size: in bytes.
    :param content_hash: SHA-256, 32 bytes.
    :param how: ``unchanged`` if an identical file was already there.
    """

    path: str
    size: int
    content_hash: bytes
    how: How


class Upload(ABC):
    """A file that is being put into the inbox; it becomes visible only when it is complete."""

    def __init__(self, name: str, max_bytes: int) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._bytes = 0
        self._hash = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Append a chunk.

        :raises DocumentTooLargeError: the file exceeds the maximum size of a document.
        :raises InboxUnavailableError: writing failed.
        """
        self._bytes += len(chunk)
        if self._bytes > self._max_bytes:
            raise refuse_too_large(self._name, self._max_bytes)
        self._hash.update(chunk)
        self._append(chunk)

    def finish(self, *, replace: bool) -> StoredFile:
        """Give the complete file its name, atomically.

        :param replace: whether to replace a file of this name with different content.
        :raises RequestError: such a file exists and may not be replaced, a folder has this name, or
            one of its folders is a file.
        :raises InboxUnavailableError: writing failed.
        """
        digest = self._hash.digest()
        how = self._place(digest, replace=replace)
        if how is None:
            raise refuse_taken(self._name)
        return StoredFile(self._name, self._bytes, digest, how)

    @abstractmethod
    def _append(self, chunk: bytes) -> None:
        """Write a chunk to the storage."""

    @abstractmethod
    def _place(self, digest: bytes, *, replace: bool) -> How | None:
        """Give the file its name; ``None`` if a different file has it."""


def is_ignored(name: str) -> bool:
    """Return whether a file or folder is ignored: hidden, unfinished, or a system file.

    :param name: one part of a path.
    """
    lower = name.lower()
    return name.startswith((".", "~$")) or lower.endswith(_UNFINISHED) or lower in _OF_SYSTEMS


def inbox_fault(path: str) -> str | None:
    """Return why a path cannot be a document's, and the fix; ``None`` if it can."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    if len(encoded) > MAX_PATH_BYTES:
        return f"its path has more than {MAX_PATH_BYTES} bytes: shorten it"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in path):
        return "its name contains control characters: rename it"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "its name cannot be a path below the inbox: rename it"
    return None


def check_name(name: str) -> str:
    """Validate and return the name of a new file.

    :param name: a path below the inbox, with slashes.
    :raises RequestError: it is no path below the inbox, or would be ignored as hidden or
        unfinished.
    """
    fault = inbox_fault(name)
    if fault is None and "\\" in name:
        fault = "it contains a backslash: folders are separated by slashes"
    if fault is None and any(is_ignored(part) for part in name.split("/")):
        fault = "hidden and unfinished files are ignored: choose another name"
    if fault is None and any(len(part.encode()) > MAX_NAME_BYTES for part in name.split("/")):
        fault = f"a part of it has more than {MAX_NAME_BYTES} bytes: shorten it"
    if fault is not None:
        shown = name[:MAX_NAME_BYTES].encode(errors="replace").decode()
        raise RequestError("bad-name", "name", f"{shown!r} cannot be a document's name: {fault}")
    return name


def refuse_too_large(path: str, max_bytes: int) -> DocumentTooLargeError:
    """Return the error for a file that exceeds the maximum size of a document."""
    return DocumentTooLargeError(
        path,
        f"is larger than {max_bytes // 2**20} MB: split it, or raise RAG_DOCUMENTS_MAX_MB",
    )


def refuse_place(path: str, reason: str) -> RequestError:
    """Return the error for a file whose name is a folder's, or whose folder is a file."""
    return RequestError(
        "name-taken", "name", f"{path} cannot be a file of the inbox: {reason}: choose another name"
    )


def refuse_taken(path: str) -> RequestError:
    """Return the error for a file whose name is taken by a different file."""
    return RequestError(
        "name-taken",
        "name",
        f"{path} is in the inbox with different content: choose another name, or allow it to be "
        "replaced",
    )


def document_key(path: str, taken: Callable[[str], bool]) -> str:
    """Return an unused key for a new document.

    Letters of all scripts are kept, accents are removed, spaces and punctuation become hyphens, and
    slashes two underscores: ``ajuda/Instalação (Linux).md`` → ``ajuda__Instalacao-Linux.md``.

    :param path: below the inbox, with slashes.
    :param taken: returns whether a key belongs, or belonged, to another document.
    """
    key = _FOLDER.join(_safe(part) for part in path.split("/") if part.strip("."))
    key = key or "document"
    if len(key) > _LONGEST_KEY:
        digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        key = f"{key[: _LONGEST_KEY - 20]}-{digest}{_suffix(path)}"
    numbered, number = key, 1
    while taken(numbered):
        number += 1
        numbered = f"{key}-{number}"
    return numbered


def _safe(part: str) -> str:
    kept = "".join(_safe_character(character) for character in unicodedata.normalize("NFC", part))
    kept = re.sub(r"-*([.-])[.-]*", r"\1", kept)
    return kept.strip("-.") or "-"


def _safe_character(character: str) -> str:
    plain = "".join(
        part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)
    )
    if plain and plain.isascii() and all(part.isalnum() or part in _KEPT for part in plain):
        return plain
    # Combining marks are kept with their letters: without them a Hindi word is a different word.
    return character if character.isalnum() or unicodedata.category(character)[0] == "M" else "-"


def _suffix(path: str) -> str:
    """Return the file's extension if it is short and alphanumeric."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}\Z", path)
    return found.group() if found else ""
