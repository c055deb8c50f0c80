"""The inbox that documents are dropped into: a folder, or any storage that fsspec supports.

:mod:`rag_assets.documents.inbox.intake` turns its files into documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from rag_assets.documents.inbox.files import FoundFile, Listing, StoredFile, Upload
from rag_assets.documents.inbox.local import LocalInbox
from rag_assets.documents.inbox.remote import open_remote
from rag_assets.sandbox.beneath import open_file
from rag_assets.settings.model import Settings


class Inbox(Protocol):
    """The interface of an inbox. Paths are below it, with slashes.

    Each method raises :class:`InboxUnavailableError` if the storage does not answer.
    """

    def describe(self) -> str:
        """Return its location for messages, without a password."""

    def listing(self) -> Listing:
        """List all files."""

    def find(self, path: str) -> FoundFile | None:
        """Return the current state of a file, if it exists."""

    def fetch(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file, or a local copy of it."""

    def content_hash(self, path: str) -> bytes:
        """Return the SHA-256 of a file, 32 bytes."""

    def remove(self, path: str) -> None:
        """Delete a file."""

    def upload(self, name: str, *, max_bytes: int) -> AbstractContextManager[Upload]:
        """Put a new file into the inbox, piece by piece."""


def open_inbox(settings: Settings) -> Inbox:
    """Return the inbox at ``RAG_DOCUMENTS_URL``, without creating it.

    :raises ConfigurationError: the URL's storage is unknown, or its package is not installed.
    :raises InboxUnavailableError: a storage that connects immediately does not answer.
    """
    url = settings.rag_documents_url
    if "://" not in url:
        return LocalInbox(Path(url))
    found = open_remote(url)
    return LocalInbox(found) if isinstance(found, Path) else found


def put(
    inbox: Inbox, name: str, pieces: Iterable[bytes], *, max_bytes: int, replace: bool = False
) -> StoredFile:
    """Put a file into the inbox; it becomes visible only when it is complete.

    :param replace: whether to replace a file of this name with different content.
    :raises RequestError: the name is invalid or taken.
    :raises DocumentTooLargeError: the file exceeds the maximum size of a document.
    :raises InboxUnavailableError: writing failed.
    """
    with inbox.upload(name, max_bytes=max_bytes) as upload:
        for piece in pieces:
            upload.write(piece)
        return upload.finish(replace=replace)


def read_pieces(root: Path, path: str, *, piece_bytes: int = 2**20) -> Iterator[bytes]:
    """Yield the content of the local file ``path`` below ``root``, piece by piece.

    :param root: a folder whose path contains no link.
    :raises RefusedFileError: it is not a regular file with one hard link, or is reached by a link.
    :raises OSError: it cannot be read.
    """
    with open_file(str(root), path) as file:
        while piece := file.read(piece_bytes):
            yield piece
