"""What stands in an inbox, and by which names: those that are taken, those that are left alone.

Of a document, the name becomes its key. The storages themselves are :mod:`.local` and
:mod:`.remote`.
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

MOST_PATH_BYTES = 1000
"""Of UTF-8. A path stands in an index of PostgreSQL, whose entries end at 2,700 bytes."""
MOST_NAME_BYTES = 200
"""Of a new file's name: file systems end at 255, and it has a suffix while it is written."""
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
    :param modified: what the storage tells of its last change, never empty; another value, perhaps
        another content.
    :param age_s: seconds since then; ``inf`` where the storage does not tell.
    """

    path: str
    bytes: int
    modified: str
    age_s: float


@dataclass(frozen=True, slots=True)
class InboxTrouble:
    """Something in the inbox that cannot be taken in, and what to do about it."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Listing:
    """All that an inbox holds.

    :param files: those that may become documents, in order of their paths.
    :param unlisted: folders, with a slash behind them, of which nothing is known now.
    :param troubles: what an operator should check; the unlisted and the refused are among it.
    :param refused: paths of files that are there but must not be read; their documents stay as they
        are.
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
    :param how: ``unchanged`` where the very same file was there already.
    """

    path: str
    size: int
    content_hash: bytes
    how: How


class Upload(ABC):
    """A file that is being put into the inbox; nobody sees it before it is whole."""

    def __init__(self, name: str, most_bytes: int) -> None:
        self._name = name
        self._most_bytes = most_bytes
        self._bytes = 0
        self._hash = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Append to it.

        :raises DocumentTooLargeError: it is larger than a document may be.
        :raises InboxUnavailableError: the storage takes no more.
        """
        self._bytes += len(chunk)
        if self._bytes > self._most_bytes:
            raise refuse_too_large(self._name, self._most_bytes)
        self._hash.update(chunk)
        self._append(chunk)

    def finish(self, *, replace: bool) -> StoredFile:
        """Give it its name, at once and whole.

        :param replace: a file of this name with another content may be replaced.
        :raises RequestError: such a file is there and may not be replaced; a folder has its name,
            or a file that of its folder.
        :raises InboxUnavailableError: the storage does not take it.
        """
        digest = self._hash.digest()
        how = self._place(digest, replace=replace)
        if how is None:
            raise refuse_taken(self._name)
        return StoredFile(self._name, self._bytes, digest, how)

    @abstractmethod
    def _append(self, chunk: bytes) -> None:
        """Let the storage have it."""

    @abstractmethod
    def _place(self, digest: bytes, *, replace: bool) -> How | None:
        """Give it its name; ``None`` where another file has it already."""


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is left alone: hidden, unfinished, or a system's own.

    :param name: one part of a path.
    """
    lower = name.lower()
    return name.startswith((".", "~$")) or lower.endswith(_UNFINISHED) or lower in _OF_SYSTEMS


def inbox_fault(path: str) -> str | None:
    """Why a path cannot be a document's, with what to do; ``None`` for one that can."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    if len(encoded) > MOST_PATH_BYTES:
        return f"its path has more than {MOST_PATH_BYTES} bytes: shorten it"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in path):
        return "its name holds control characters: rename it"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "its name cannot be a path below the inbox: rename it"
    return None


def check_name(name: str) -> str:
    """Return a name under which a new file may be stored.

    :param name: a path below the inbox, with slashes.
    :raises RequestError: it would lead outside, be left alone as hidden or unfinished, or cannot be
        a path.
    """
    fault = inbox_fault(name)
    if fault is None and "\\" in name:
        fault = "it holds a backslash: folders are separated by slashes"
    if fault is None and any(is_ignored(part) for part in name.split("/")):
        fault = "hidden and unfinished files are left alone: choose another name"
    if fault is None and any(len(part.encode()) > MOST_NAME_BYTES for part in name.split("/")):
        fault = f"a part of it has more than {MOST_NAME_BYTES} bytes: shorten it"
    if fault is not None:
        shown = name[:MOST_NAME_BYTES].encode(errors="replace").decode()
        raise RequestError("bad-name", "name", f"{shown!r} cannot be a document's name: {fault}")
    return name


def refuse_too_large(path: str, most_bytes: int) -> DocumentTooLargeError:
    """The error of a file that is larger than a document may be."""
    return DocumentTooLargeError(
        path,
        f"is larger than {most_bytes // 2**20} MB: split it, or raise RAG_DOCUMENTS_MAX_MB",
    )


def refuse_place(path: str, reason: str) -> RequestError:
    """The error of a file whose name is a folder's, or whose folder is none."""
    return RequestError(
        "name-taken", "name", f"{path} cannot be a file of the inbox: {reason}: choose another name"
    )


def refuse_taken(path: str) -> RequestError:
    """The error of a file whose name another has."""
    return RequestError(
        "name-taken",
        "name",
        f"{path} is in the inbox with another content: choose another name, or say that it is to "
        "be replaced",
    )


def document_key(path: str, taken: Callable[[str], bool]) -> str:
    """A key for a new document that no other has or had.

    Letters of other scripts stay; accents go, blanks and signs become hyphens, and a slash becomes
    two underscores: ``ajuda/Instalação (Linux).md`` has the key ``ajuda__Instalacao-Linux.md``.

    :param path: below the inbox, with slashes.
    :param taken: tells whether a key belongs, or belonged, to another document.
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
    # A mark belongs to the letter before it; without its marks a word of Hindi is another word.
    return character if character.isalnum() or unicodedata.category(character)[0] == "M" else "-"


def _suffix(path: str) -> str:
    """The file's extension, where it is a short plain one."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}\Z", path)
    return found.group() if found else ""
