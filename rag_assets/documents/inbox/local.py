"""An inbox in a local folder. No link is followed, so that no path leads outside."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

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
from rag_assets.errors import InboxUnavailableError
from rag_assets.sandbox import beneath
from rag_assets.visible import visible

_LEFT_BEHIND_S = 86_400
"""Age at which an unfinished upload is removed."""


class LocalInbox:
    """A folder. A missing one counts as empty, and is created by the first upload.

    :param clock: seconds since the epoch, comparable to file times.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        # Resolved once: the inbox folder itself may be a link.
        self._root = os.path.realpath(folder)
        self._clock = clock

    def describe(self) -> str:
        """Return the folder, for messages."""
        return self._root

    def listing(self) -> Listing:
        """List all files.

        :raises InboxUnavailableError: the folder exists but cannot be listed.
        """
        scan = _Scan(self._clock())
        while scan.folders:
            prefix = scan.folders.pop()
            try:
                with beneath.entries_of(self._root, prefix.rstrip("/")) as entries:
                    for entry in entries:
                        scan.add(entry, prefix)
            except FileNotFoundError:
                continue  # deleted meanwhile
            except beneath.RefusedFileError as error:  # no longer a folder
                scan.troubles.append(InboxTrouble(prefix, str(error)))
            except OSError as error:
                if not prefix:
                    raise InboxUnavailableError(
                        f"the inbox {self._root} cannot be listed ({error.strerror}): give this "
                        "user permission to read it, or correct RAG_DOCUMENTS_URL"
                    ) from error
                scan.unlisted.append(prefix)
                reason = f"the folder cannot be listed: {error.strerror}"
                scan.troubles.append(InboxTrouble(prefix, reason))
        return scan.listing()

    def find(self, path: str) -> FoundFile | None:
        """Return the current state of a file; ``None`` if there is none that would be listed.

        :raises InboxUnavailableError: it cannot be read, or has several hard links.
        """
        try:
            with self._opened(path) as file:
                return _found(path, os.fstat(file.fileno()), self._clock())
        except _GoneError:
            return None

    @contextmanager
    def fetch(self, path: str) -> Iterator[BinaryIO]:
        """Open the file itself.

        :raises InboxUnavailableError: it does not exist, or cannot be read.
        """
        with self._opened(path) as file:
            yield file

    def content_hash(self, path: str) -> bytes:
        """Return the SHA-256 of the content, 32 bytes.

        :raises InboxUnavailableError: it does not exist, or cannot be read.
        """
        with self._opened(path) as file:
            try:
                return hashlib.file_digest(file, "sha256").digest()
            except OSError as error:
                raise _unreadable(path, error) from error

    def remove(self, path: str) -> None:
        """Delete a file.

        :raises InboxUnavailableError: it cannot be deleted.
        """
        folder, _, name = path.rpartition("/")
        try:
            with beneath.folder_at(self._root, folder) as opened:
                os.unlink(name, dir_fd=opened)
        except (OSError, beneath.RefusedFileError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InboxUnavailableError(
                f"{visible(path)} cannot be deleted from the inbox ({reason}): delete it, then "
                "repeat this"
            ) from error

    @contextmanager
    def upload(self, name: str, *, max_bytes: int) -> Iterator[_LocalUpload]:
        """Put a file into the inbox, piece by piece; without ``finish`` it is discarded.

        :raises RequestError: the name is invalid.
        :raises InboxUnavailableError: the folder cannot be written to.
        """
        check_name(name)
        scratch = Path(self._root, f"{UNFINISHED_PREFIX}{uuid.uuid4().hex}.part")
        try:
            Path(self._root).mkdir(parents=True, exist_ok=True)
            self._remove_left_behind()
            file = scratch.open("xb")
        except OSError as error:
            raise _not_written(name, error) from error
        try:
            with file:
                yield _LocalUpload(self, name, file, scratch, max_bytes)
        finally:
            scratch.unlink(missing_ok=True)

    def place(self, scratch: Path, name: str, *, digest: bytes, replace: bool) -> How | None:
        """Give a complete file its name; ``None`` if a different file has it.

        :raises RefusedFileError: a folder in its path is a link or a file.
        :raises IsADirectoryError: a folder has its name.
        :raises OSError: renaming failed.
        """
        folder, _, last = name.rpartition("/")
        with (
            beneath.folder_at(self._root, "") as root,
            beneath.folder_at(self._root, folder, make=True) as target,
        ):
            if _renamed(scratch.name, root, last, target):
                return "added"
            if self._same(name, digest):
                return "unchanged"
            if stat.S_ISDIR(os.stat(last, dir_fd=target, follow_symlinks=False).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
            if not replace:
                return None
            os.rename(scratch.name, last, src_dir_fd=root, dst_dir_fd=target)
        return "replaced"

    def _same(self, name: str, digest: bytes) -> bool:
        try:
            return self.content_hash(name) == digest
        except InboxUnavailableError:
            return False

    def _remove_left_behind(self) -> None:
        for path in Path(self._root).glob(f"{UNFINISHED_PREFIX}*"):
            with suppress(OSError):
                if self._clock() - path.lstat().st_mtime > _LEFT_BEHIND_S:
                    path.unlink()

    @contextmanager
    def _opened(self, path: str) -> Iterator[BufferedReader]:
        """Open a file without following any link."""
        if inbox_fault(path) is not None:
            raise _GoneError(f"{visible(path)} is not in the inbox {self._root}")
        try:
            file = beneath.open_file(self._root, path)
        except beneath.HardLinkedError as error:
            raise InboxUnavailableError(f"{path} {error}") from None
        except beneath.RefusedFileError as error:
            raise _GoneError(f"{path} is not in the inbox {self._root}: {error}") from None
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _GoneError(f"{path} is no longer in the inbox {self._root}") from error
        except OSError as error:
            raise _unreadable(path, error) from error
        with file:
            yield file


class _LocalUpload(Upload):
    """Writes to a hidden file in the inbox, which is then renamed."""

    def __init__(
        self, inbox: LocalInbox, name: str, file: BinaryIO, scratch: Path, max_bytes: int
    ) -> None:
        super().__init__(name, max_bytes)
        self._inbox = inbox
        self._file = file
        self._scratch = scratch

    def _append(self, chunk: bytes) -> None:
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _not_written(self._name, error) from error

    def _place(self, digest: bytes, *, replace: bool) -> How | None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())  # the caller may delete the original once this returns
            return self._inbox.place(self._scratch, self._name, digest=digest, replace=replace)
        except beneath.RefusedFileError as error:
            raise refuse_place(self._name, str(error)) from None
        except IsADirectoryError:
            raise refuse_place(self._name, "it is a folder") from None
        except OSError as error:
            raise _not_written(self._name, error) from error


class _GoneError(InboxUnavailableError):
    """The file is not in the inbox."""


class _Scan:
    """A listing in progress.

    :param now: seconds since the epoch.
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self.files: list[FoundFile] = []
        self.refused: list[str] = []
        self.unlisted: list[str] = []
        self.troubles: list[InboxTrouble] = []
        self.folders = [""]  # still to be listed, with a slash at the end

    def add(self, entry: os.DirEntry[str], prefix: str) -> None:
        """Add an entry of a folder."""
        if is_ignored(entry.name):
            return
        path = prefix + entry.name
        fault = inbox_fault(path)
        if entry.is_symlink():
            fault = "is a link, which is not followed: put the file itself there"
        elif entry.is_dir(follow_symlinks=False):
            if fault is None:
                self.folders.append(path + "/")
        elif not entry.is_file(follow_symlinks=False):
            fault = "is neither a file nor a folder: remove it"
        elif fault is None:
            with suppress(FileNotFoundError):  # deleted meanwhile
                fault = self._add_file(path, entry.stat(follow_symlinks=False))
        if fault is not None:
            self.troubles.append(InboxTrouble(visible(path), fault))

    def _add_file(self, path: str, status: os.stat_result) -> str | None:
        """Add a file, or return why it is refused."""
        fault = beneath.hard_links_fault(status.st_nlink)
        if fault is None:
            self.files.append(_found(path, status, self._now))
        else:
            self.refused.append(path)
        return fault

    def listing(self) -> Listing:
        """Return the completed listing."""
        self.files.sort(key=lambda file: file.path)
        self.refused.sort()
        self.troubles.sort(key=lambda trouble: trouble.path)
        return Listing(
            tuple(self.files), tuple(self.unlisted), tuple(self.troubles), tuple(self.refused)
        )


def _found(path: str, status: os.stat_result, now: float) -> FoundFile:
    """Describe a file by its inode.

    The age is based on ctime, which is also part of ``modified``: copying may set mtime to years
    ago, and content may change without mtime changing.
    """
    return FoundFile(
        path,
        status.st_size,
        f"{status.st_mtime_ns}/{status.st_ctime_ns}",
        now - status.st_ctime,
    )


def _unreadable(path: str, error: OSError) -> InboxUnavailableError:
    return InboxUnavailableError(
        f"{path} cannot be read ({error.strerror}): give this user permission to read it"
    )


def _renamed(scratch: str, root: int, name: str, folder: int) -> bool:
    """Give a file its name; return false if it is taken.

    :param root: descriptor of the folder of ``scratch``; ``folder``: that of ``name``.
    """
    try:
        return beneath.rename_new(scratch, root, name, folder)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
    try:  # a scan may report two hard links for a moment; the next scan accepts the file
        os.link(scratch, name, src_dir_fd=root, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links, such as FAT: checking first is the best it offers.
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            return False
        os.rename(scratch, name, src_dir_fd=root, dst_dir_fd=folder)
        return True
    os.unlink(scratch, dir_fd=root)
    return True


def _not_written(name: str, error: Exception) -> InboxUnavailableError:
    reason = getattr(error, "strerror", None) or error
    return InboxUnavailableError(
        f"{name} cannot be written to the inbox ({reason}): check its permissions and free space"
    )
