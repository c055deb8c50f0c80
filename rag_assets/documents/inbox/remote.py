"""An inbox at any place that fsspec can reach: object storage, SFTP, memory. The only user of it.

Storages raise errors of their own making; each is told as one of ours.
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
"""Where the storages tell the time of the last change."""
_TAGS = ("ETag", "etag", "md5Hash", "generation", "content_hash")
_AHEAD_S = 3600
"""A time further ahead than this was set by hand and tells nothing of the age."""


def open_remote(url: str) -> RemoteInbox | Path:
    """The inbox at a URL; only the folder where it is one of this machine.

    :raises ConfigurationError: the URL's storage is not known, its package is not installed, or it
        is a folder of this machine behind a wrapper, by which links would be followed.
    :raises InboxUnavailableError: it cannot be reached.
    """
    try:
        storage, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"RAG_DOCUMENTS_URL {place_of(url)}: {_words_on(url, error)}. It is a folder, or a URL "
            "that fsspec knows; some need a package more, such as s3fs"
        ) from None
    except Exception as error:  # some connect at once
        raise InboxUnavailableError(
            f"the inbox {place_of(url)} cannot be reached ({_words_on(url, error)})"
        ) from without_secrets(error)
    if getattr(storage, "local_file", False):
        return Path(root)
    wrapped = (getattr(storage, name, None) for name in ("fs", "sync_fs"))
    if any(getattr(one, "local_file", False) for one in wrapped):
        raise ConfigurationError(
            f"RAG_DOCUMENTS_URL {place_of(url)} wraps a folder of this machine: give the "
            "folder's path"
        )
    return RemoteInbox(storage, root, place_of(url))


def _words_on(url: str, error: Exception) -> str:
    """What is said of a URL that may have been taken apart in the midst of its password."""
    return masked_of(url, _words(error))


def _words(error: Exception) -> str:
    """What a storage says, short and without secrets."""
    return reason_of(error)[:300]


class RemoteInbox:
    """A storage and a folder in it. One that is not there is empty.

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
        """The URL, for people."""
        return self._shown

    def listing(self) -> Listing:
        """All files.

        :raises InboxUnavailableError: the storage cannot be listed.
        """
        unlisted: list[str] = []
        files: list[FoundFile] = []
        troubles: list[InboxTrouble] = []
        with self.explained("listed"):
            self._storage.invalidate_cache()
            found = self._entries(unlisted, troubles)
        now = self._clock()
        for path, told in found:
            fault = inbox_fault(path)
            if fault is None and any(map(is_ignored, path.split("/"))):
                continue
            if fault is None and not _is_file(told):
                fault = "is no file, or a link, which is not followed: put the file itself there"
            if fault is not None:
                troubles.append(InboxTrouble(visible(path), fault))
            else:
                files.append(_found(path, told, now))
        files.sort(key=lambda file: file.path)
        return Listing(tuple(files), tuple(unlisted), tuple(troubles))

    def find(self, path: str) -> FoundFile | None:
        """One file as it is now; ``None`` where there is none.

        :raises InboxUnavailableError: the storage cannot be asked.
        """
        with self.explained("asked"):
            self._storage.invalidate_cache()
            try:
                told = self._storage.info(self._place(path))
            except FileNotFoundError:
                return None
        return _found(path, told, self._clock()) if _is_file(told) else None

    def _entries(
        self, unlisted: list[str], troubles: list[InboxTrouble]
    ) -> Iterable[tuple[str, Mapping[str, Any]]]:
        """Paths below the inbox of all that is no folder, with what the storage tells of them."""
        prefix = self._root + "/"
        if _lists_flat(self._storage):
            try:
                found = self._storage.find(self._root, detail=True)
            except FileNotFoundError:
                return ()
            return [(name.removeprefix(prefix), told) for name, told in found.items()]
        return list(self._walked(prefix, unlisted, troubles))

    def _walked(
        self, prefix: str, unlisted: list[str], troubles: list[InboxTrouble]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Folder by folder. fsspec's own walk takes a folder that it may not list for empty."""
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
                fault = f"the folder cannot be listed: {_words(error)}"
                troubles.append(InboxTrouble(visible(folder), fault))
                continue
            for told in entries:
                path = told["name"].rstrip("/").removeprefix(prefix)
                if told["type"] == "directory" and not told.get("islink"):
                    if not inbox_fault(path) and not is_ignored(path.rsplit("/", 1)[-1]):
                        folders.append(path + "/")
                else:
                    yield path, told

    @contextmanager
    def fetch(self, path: str) -> Iterator[BinaryIO]:
        """A copy of the file on this machine, open at its beginning. It has no name.

        :raises InboxUnavailableError: it is not there, or cannot be read.
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
        """SHA-256 of the content, 32 bytes.

        :raises InboxUnavailableError: it is not there, or cannot be read.
        """
        digest = hashlib.sha256()
        for piece in self._pieces(path):
            digest.update(piece)
        return digest.digest()

    @contextmanager
    def upload(self, name: str, *, most_bytes: int) -> Iterator[_RemoteUpload]:
        """Put a file into the inbox, piece by piece; without ``finish`` nothing stays.

        :raises RequestError: the name is not one.
        :raises InboxUnavailableError: the storage cannot be written to.
        """
        check_name(name)
        scratch = f"{self._root}/{UNFINISHED_PREFIX}{uuid.uuid4().hex}.part"
        with self.explained("written to"):
            with suppress(FileExistsError):
                self._storage.makedirs(self._root, exist_ok=True)
            file = self._storage.open(scratch, "wb")
        try:
            yield _RemoteUpload(self, name, file, scratch, most_bytes)
        finally:
            with suppress(Exception):  # what cannot be removed is ignored by its name
                file.close()
                self._storage.rm_file(scratch)

    def place(self, scratch: str, name: str, *, digest: bytes, replace: bool) -> How | None:
        """Give a whole file its name; ``None`` where another file has it already.

        Looking comes before: storages have no way to do both at once.
        """
        target = self._place(name)
        with self.explained("written to"):
            self._storage.invalidate_cache()
            refused = self._no_place(name)
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

    def _no_place(self, name: str) -> str:
        """Why no file can have this name, where a folder has it, or a file that of its folder.

        Object storages would take it, and no folder to which they are copied.
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
        """The content of a file."""
        if inbox_fault(path) is not None:
            raise InboxUnavailableError(f"{visible(path)} is not in the inbox {self._shown}")
        with self.explained(f"asked for {path}"), self._storage.open(self._place(path)) as file:
            while piece := file.read(_PIECE):
                yield piece

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Tell what a storage raises as one of our errors."""
        try:
            yield
        except FileNotFoundError:
            raise InboxUnavailableError(
                f"the inbox {self._shown} was {what}: it is not there any longer"
            ) from None
        except Exception as error:
            raise InboxUnavailableError(
                f"the inbox {self._shown} cannot be {what} now ({_words(error)})"
            ) from without_secrets(error)


class _RemoteUpload(Upload):
    """Under a name that is left alone, then moved."""

    def __init__(
        self, inbox: RemoteInbox, name: str, file: BinaryIO, scratch: str, most_bytes: int
    ) -> None:
        super().__init__(name, most_bytes)
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
    """Whether it lists all below a folder in a way of its own, as object storages do."""
    kind = type(storage)
    if issubclass(kind, AsyncFileSystem):
        return kind._find is not AsyncFileSystem._find
    return kind.find is not AbstractFileSystem.find


def _is_file(told: Mapping[str, Any]) -> bool:
    return told.get("type") == "file" and not told.get("islink")


def _found(path: str, told: Mapping[str, Any], now: float) -> FoundFile:
    """A file as its storage tells."""
    size = int(told.get("size") or 0)
    changed = next((told[name] for name in _STAMPS if told.get(name)), None)
    seconds = _seconds(changed)
    tag = next((told[name] for name in _TAGS if told.get(name)), None)
    modified = tag or seconds or changed or f"{size} bytes"
    age = now - seconds if seconds is not None and seconds < now + _AHEAD_S else math.inf
    return FoundFile(path, size, str(modified), age)


def _seconds(told: object) -> float | None:
    """A time as seconds since the epoch, where it can be understood."""
    if isinstance(told, int | float):
        return float(told)
    moment = told
    if isinstance(told, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            with suppress(ValueError):
                moment = read(told)
                break
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    return None
