"""What happens in a folder, as Linux tells it: for tests that act at a certain moment."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OPENED, CLOSED_UNCHANGED, MOVED_TO, CREATED = 0x20, 0x10, 0x80, 0x100
_HEAD = struct.Struct("iIII")


@dataclass(frozen=True)
class Event:
    """One event: its kind, and the name of the entry that it happened to."""

    mask: int
    name: str


@contextmanager
def watching(folder: Path, mask: int) -> Iterator[Callable[[], list[Event]]]:
    """Events in a folder from now on: a call waits until there are some and returns them."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    try:
        assert libc.inotify_add_watch(descriptor, os.fsencode(folder), mask) >= 0
        yield lambda: list(_parsed(os.read(descriptor, 65_536)))
    finally:
        os.close(descriptor)


def _parsed(received: bytes) -> Iterator[Event]:
    while received:
        _, mask, _, length = _HEAD.unpack_from(received)
        name = received[_HEAD.size : _HEAD.size + length].rstrip(b"\0")
        yield Event(mask, os.fsdecode(name))
        received = received[_HEAD.size + length :]
