"""A document's key: its path made safe for Dagster's partition keys, URLs and command lines."""

from __future__ import annotations

from collections.abc import Callable


def document_key(path: str, taken: Callable[[str], bool]) -> str:
    """A key for a new document that no other has or had.

    :param path: below the inbox, with slashes.
    :param taken: tells whether a key belongs, or belonged, to another document.
    """
    raise NotImplementedError(path)
