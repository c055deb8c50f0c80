"""An inbox in any storage that fsspec supports: object storage, SFTP, memory.

The only module that uses fsspec. Errors of the storages are translated to those of this project.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs

from rag_assets.documents.inbox.files import (
    UNFINISHED_PREFIX,
    FoundFile,
    How,
    InboxTrouble,
    Listing,
    Upload,
    check_name,
    inbox_fault,
    is_ignored,
    refuse_place,
)
from rag_assets.errors import ConfigurationError, InboxUnavailableError, reason_of
from rag_assets.secrecy import masked_of, place_of, without_secrets
from rag_assets.visible import visible

_PIECE = 2**20
_STAMPS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""Keys under which storages report the time of the last change."""
_TAGS = ("ETag", "etag", "md5Hash", "generation", "content_hash")
_AHEAD_S = 3600
"""A time further in the future than this was set by hand and says nothing about the age."""


def open_remote(url: str) -> RemoteInbox | Path:
    """Return the inbox at a URL, or the path if the URL denotes a local folder.

    :raises ConfigurationError: the URL's storage is unknown, its package is not installed, or it
        wraps a local folder, in which links would be followed.
    :raises InboxUnavailableError: it cannot be reached.
    """
    try:
        storage, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"RAG_DOCUMENTS_URL {place_of(url)}: {_reason_on(url, error)}. It must be a folder, or "
            "a URL that fsspec supports; some need another package, such as s3fs"
        ) from None
    except Exception as error:  # some storages connect immediately
        raise InboxUnavailableError(
            f"the inbox {place_of(url)} cannot be reached ({_reason_on(url, error)})"
        ) from without_secrets(error)
    if getattr(storage, "local_file", False):
        return Path(root)
    wrapped = (getattr(storage, name, None) for name in ("fs", "sync_fs"))
    if any(getattr(one, "local_file", False) for one in wrapped):
        raise ConfigurationError(
            f"RAG_DOCUMENTS_URL {place_of(url)} wraps a local folder: give the folder's path"
        )
    return RemoteInbox(storage, root, place_of(url))


def _reason_on(url: str, error: Exception) -> str:
    """Mask a message about a URL, which may have been split in the middle of its password."""
    return masked_of(url, _reason(error))


def _reason(error: Exception) -> str:
    """Return a storage's message, shortened and without secrets."""
    return reason_of(error)[:300]


class RemoteInbox:
    """A folder in a storage. A missing one counts as empty.

    :param clock: seconds since the epoch.
    """

    def __init__(
        self,
        storage: AbstractFileSystem,
        root: str,
        shown: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._root = root.rstrip("/")
        self._shown = shown
        self._clock = clock

    def describe(self) -> str:
        """Return the URL, for messages."""
        return self._shown

    def listing(self) -> Listing:
        """List all files.

        :raises InboxUnavailableError: the storage cannot be listed.
        """
        unlisted: list[str] = []
        files: list[FoundFile] = []
        troubles: list[InboxTrouble] = []
        with self.explained("listed"):
            self._storage.invalidate_cache()
            found = self._entries(unlisted, troubles)
        now = self._clock()
        for path, info in found:
            fault = inbox_fault(path)
            if fault is None and any(map(is_ignored, path.split("/"))):
                continue
            if fault is None and not _is_file(info):
                fault = (
                    "is not a file, or is a link, which is not followed: put the file itself there"
                )
            if fault is not None:
                troubles.append(InboxTrouble(visible(path), fault))
            else:
                files.append(_found(path, info, now))
        files.sort(key=lambda file: file.path)
        return Listing(tuple(files), tuple(unlisted), tuple(troubles))

    def find(self, path: str) -> FoundFile | None:
        """Return the current state of a file, if it exists.

        :raises InboxUnavailableError: the storage does not answer.
        """
        with self.explained("asked"):
            self._storage.invalidate_cache()
            try:
                info = self._storage.info(self._place(path))
            except FileNotFoundError:
                return None
        return _found(path, info, self._clock()) if _is_file(info) else None

    def _entries(
        self, unlisted: list[str], troubles: list[InboxTrouble]
    ) -> Iterable[tuple[str, Mapping[str, Any]]]:
        """Return everything but folders: the path below the inbox, and the storage's info."""
        prefix = self._root + "/"
        if _lists_flat(self._storage):
            try:
                found = self._storage.find(self._root, detail=True)
            except FileNotFoundError:
                return ()
            return [(name.removeprefix(prefix), info) for name, info in found.items()]
        return list(self._walked(prefix, unlisted, troubles))

    def _walked(
        self, prefix: str, unlisted: list[str], troubles: list[InboxTrouble]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """List folder by folder. fsspec's own walk treats a folder it may not list as empty."""
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                entries = self._storage.ls(prefix + folder, detail=True)
            except Exception as error:
                if not folder and isinstance(error, FileNotFoundError):
                    return
                if not folder:
                    raise
                unlisted.append(folder)
                fault = f"the folder cannot be listed: {_reason(error)}"
                troubles.append(InboxTrouble(visible(folder), fault))
                continue
            for info in entries:
                path = info["name"].rstrip("/").removeprefix(prefix)
                if info["type"] == "directory" and not info.get("islink"):
                    if not inbox_fault(path) and not is_ignored(path.rsplit("/", 1)[-1]):
                        folders.append(path + "/")
                else:
                    yield path, info

    @contextmanager
    def fetch(self, path: str) -> Iterator[BinaryIO]:
        """Copy the file to a temporary file without a name, and open that.

        :raises InboxUnavailableError: it does not exist, or cannot be read.
        """
        with tempfile.TemporaryFile() as copy:
            try:
                for piece in self._pieces(path):
                    copy.write(piece)
                copy.seek(0)
            except OSError as error:
                raise InboxUnavailableError(
                    f"{path} cannot be copied to {tempfile.gettempdir()} ({error.strerror}): check "
                    "its free space"
                ) from error
            yield copy

    def content_hash(self, path: str) -> bytes:
        """Return the SHA-256 of the content, 32 bytes.

        :raises InboxUnavailableError: it does not exist, or cannot be read.
        """
        digest = hashlib.sha256()
        for piece in self._pieces(path):
            digest.update(piece)
        return digest.digest()

    def remove(self, path: str) -> None:
        """Delete a file.

        :raises InboxUnavailableError: it cannot be deleted.
        """
        with self.explained("written to"):
            self._storage.rm_file(self._place(path))

    @contextmanager
    def upload(self, name: str, *, max_bytes: int) -> Iterator[_RemoteUpload]:
        """Put a file into the inbox, piece by piece; without ``finish`` it is discarded.

        :raises RequestError: the name is invalid.
        :raises InboxUnavailableError: the storage cannot be written to.
        """
        check_name(name)
        scratch = f"{self._root}/{UNFINISHED_PREFIX}{uuid.uuid4().hex}.part"
        with self.explained("written to"):
            with suppress(FileExistsError):
                self._storage.makedirs(self._root, exist_ok=True)
            file = self._storage.open(scratch, "wb")
        try:
            yield _RemoteUpload(self, name, file, scratch, max_bytes)
        finally:
            with suppress(Exception):  # a leftover is ignored because of its name
                file.close()
                self._storage.rm_file(scratch)

    def place(self, scratch: str, name: str, *, digest: bytes, replace: bool) -> How | None:
        """Give a complete file its name; ``None`` if a different file has it.

        Checks first, because storages have no atomic rename without replacement.
        """
        target = self._place(name)
        with self.explained("written to"):
            self._storage.invalidate_cache()
            refused = self._name_fault(name)
            there = self._storage.exists(target)
        if refused:
            raise refuse_place(name, refused)
        if there and self.content_hash(name) == digest:
            return "unchanged"
        if there and not replace:
            return None
        with self.explained("written to"):
            if "/" in name:
                self._storage.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self._storage.mv(scratch, target)
        return "replaced" if there else "added"

    def _name_fault(self, name: str) -> str:
        """Return why no file can have this name: it is a folder, or one of its folders is a file.

        Object storages would allow it, but their objects could not be copied to a file system.
        """
        above = name.split("/")[:-1]
        for depth in range(1, len(above) + 1):
            folder = "/".join(above[:depth])
            if self._storage.isfile(self._place(folder)):
                return f"{folder} is a file, not a folder"
        return "it is a folder" if self._storage.isdir(self._place(name)) else ""

    def _place(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _pieces(self, path: str) -> Iterator[bytes]:
        """Yield the content of a file."""
        if inbox_fault(path) is not None:
            raise InboxUnavailableError(f"{visible(path)} is not in the inbox {self._shown}")
        with self.explained(f"asked for {path}"), self._storage.open(self._place(path)) as file:
            while piece := file.read(_PIECE):
                yield piece

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Translate errors of the storage."""
        try:
            yield
        except FileNotFoundError:
            raise InboxUnavailableError(
                f"the inbox {self._shown} was {what}: it no longer exists"
            ) from None
        except Exception as error:
            raise InboxUnavailableError(
                f"the inbox {self._shown} cannot be {what} now ({_reason(error)})"
            ) from without_secrets(error)


class _RemoteUpload(Upload):
    """Writes under a name that scans ignore, then moves the file."""

    def __init__(
        self, inbox: RemoteInbox, name: str, file: BinaryIO, scratch: str, max_bytes: int
    ) -> None:
        super().__init__(name, max_bytes)
        self._inbox = inbox
        self._file = file
        self._scratch = scratch

    def _append(self, chunk: bytes) -> None:
        with self._inbox.explained("written to"):
            self._file.write(chunk)

    def _place(self, digest: bytes, *, replace: bool) -> How | None:
        with self._inbox.explained("written to"):
            self._file.close()
        return self._inbox.place(self._scratch, self._name, digest=digest, replace=replace)


def _lists_flat(storage: AbstractFileSystem) -> bool:
    """Return whether the storage implements its own recursive listing, as object storages do."""
    kind = type(storage)
    if issubclass(kind, AsyncFileSystem):
        return kind._find is not AsyncFileSystem._find
    return kind.find is not AbstractFileSystem.find


def _is_file(info: Mapping[str, Any]) -> bool:
    return info.get("type") == "file" and not info.get("islink")


def _found(path: str, info: Mapping[str, Any], now: float) -> FoundFile:
    """Describe a file by the storage's info."""
    size = int(info.get("size") or 0)
    changed = next((info[name] for name in _STAMPS if info.get(name)), None)
    seconds = _seconds(changed)
    tag = next((info[name] for name in _TAGS if info.get(name)), None)
    modified = tag or seconds or changed or f"{size} bytes"
    age = now - seconds if seconds is not None and seconds < now + _AHEAD_S else math.inf
    return FoundFile(path, size, str(modified), age)


def _seconds(stamp: object) -> float | None:
    """Convert a time to seconds since the epoch; ``None`` if its format is unknown."""
    if isinstance(stamp, int | float):
        return float(stamp)
    moment = stamp
    if isinstance(stamp, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            with suppress(ValueError):
                moment = read(stamp)
                break
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    return None
