"""Open files below a folder without following links, so that nothing outside is opened.

A path is walked folder by folder, each opened relative to the previous one: a part that is replaced
by a link at any moment ends the walk. Only regular files are opened, without waiting for the writer
of a pipe. Interpreting their content does not belong here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader
from typing import Any

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
# O_PATH, if the system has it, allows walking through folders that may be entered but not listed.
_ENTER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | _NO_LINK
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | _NO_LINK
_LINK_MET = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)
_SPECIAL_MET = (errno.ENXIO, errno.EOPNOTSUPP, errno.ENODEV)  # from opening a socket or device


class RefusedFileError(Exception):
    """A file that is never opened. The message says why and what to do, without the path."""


class HardLinkedError(RefusedFileError):
    """The file has several hard links, and may be a file outside."""


def hard_links_fault(links: int) -> str | None:
    """Why a file with this number of hard links is refused; ``None`` for one.

    Another link may be a file that only this service may read.
    """
    if links <= 1:
        return None
    return f"has {links} hard links, one of which may be a file elsewhere: put a copy in its place"


@contextmanager
def folder_at(root: str, path: str, *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder ``path`` below ``root``, for use as ``dir_fd``.

    :param root: a path without links.
    :param path: separated by slashes; empty for ``root`` itself.
    :param make: create missing folders.
    :raises RefusedFileError: a part of the path is a link or a file, or leads up.
    :raises OSError: a folder is missing, or cannot be entered or created.
    """
    descriptor = os.open(root, _ENTER)
    try:
        for part in path.split("/") if path else ():
            inner = _entered(descriptor, part, make=make)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _entered(folder: int, part: str, *, make: bool) -> int:
    if part in ("", ".", ".."):
        raise RefusedFileError("its path leads out of the folder: correct it")
    if make:
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=folder)
    try:
        return os.open(part, _ENTER, dir_fd=folder)
    except OSError as error:
        if error.errno in _LINK_MET:
            raise RefusedFileError(
                f"{part} is a link or a file, not a folder: no link is followed"
            ) from None
        raise


@contextmanager
def entries_of(root: str, path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """The entries of a folder; their ``path`` is their name. Raises as :func:`folder_at`."""
    with folder_at(root, path) as folder:
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | _NO_LINK, dir_fd=folder)
        try:
            with os.scandir(listed) as entries:
                yield entries
        finally:
            os.close(listed)


def open_file(root: str, path: str) -> BufferedReader:
    """Open a regular file with a single hard link for reading.

    :param root: as for :func:`folder_at`, like ``path``.
    :raises HardLinkedError: it has several hard links.
    :raises RefusedFileError: it is a link, a folder, a pipe, a device or a socket, or below a link.
    :raises OSError: it is missing or cannot be read.
    """
    above, _, name = path.rpartition("/")
    with folder_at(root, above) as folder:
        try:
            descriptor = os.open(name, _READ, dir_fd=folder)
        except OSError as error:
            if error.errno in _LINK_MET:
                raise RefusedFileError("is a link, which is not followed") from None
            if error.errno in _SPECIAL_MET:
                raise RefusedFileError("is not a regular file: remove it") from None
            raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise RefusedFileError("is not a regular file: remove it")
        if fault := hard_links_fault(found.st_nlink):
            raise HardLinkedError(fault)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def rename_new(name: str, folder: int, new_name: str, new_folder: int) -> bool:
    """Rename a file atomically unless the new name is taken; false if it is.

    Unlike link and unlink, this never gives the file two names.

    :param folder: descriptor of the folder of ``name``; ``new_folder``: of ``new_name``.
    :raises OSError: it cannot be renamed; ENOTSUP if the system does not support this.
    """
    function, flag = _exclusive_rename()
    if function is not None:
        if function(folder, os.fsencode(name), new_folder, os.fsencode(new_name), flag) == 0:
            return True
        code = ctypes.get_errno()
    else:
        code = errno.ENOTSUP
    if code == errno.EEXIST:
        return False
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # not supported by the file system
        code = errno.ENOTSUP
    raise OSError(code, os.strerror(code))


@cache
def _exclusive_rename() -> tuple[Any, int]:
    """The C library's function and its flag for "fail if the name is taken"."""
    name, flag = ("renameatx_np", 4) if sys.platform == "darwin" else ("renameat2", 1)
    return getattr(ctypes.CDLL(None, use_errno=True), name, None), flag
