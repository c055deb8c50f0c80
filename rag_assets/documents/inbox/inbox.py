"""The inbox: where documents are dropped. A folder, or any place that fsspec can reach.

What becomes of its files is for :mod:`rag_assets.documents.inbox.intake`.
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
    """What a storage of documents can do. Paths are below it, with slashes.

    Each method raises :class:`InboxUnavailableError` where the storage does not answer.
    """

    def describe(self) -> str:
        """Where it is, for people; without a password."""

    def listing(self) -> Listing:
        """All its files."""

    def find(self, path: str) -> FoundFile | None:
        """One file as it is now."""

    def fetch(self, path: str) -> AbstractContextManager[BinaryIO]:
        """One file, or a copy of it on this machine, open at its beginning."""

    def content_hash(self, path: str) -> bytes:
        """SHA-256 of one's content, 32 bytes."""

    def upload(self, name: str, *, most_bytes: int) -> AbstractContextManager[Upload]:
        """Put a new one into it, piece by piece."""


def open_inbox(settings: Settings) -> Inbox:
    """The inbox of ``RAG_DOCUMENTS_URL``. Nothing is made yet.

    :raises ConfigurationError: the URL's storage is not known, or its package is not installed.
    :raises InboxUnavailableError: some storages are asked at once, and this one does not answer.
    """
    url = settings.rag_documents_url
    if "://" not in url:
        return LocalInbox(Path(url))
    found = open_remote(url)
    return LocalInbox(found) if isinstance(found, Path) else found


def put(
    inbox: Inbox, name: str, pieces: Iterable[bytes], *, most_bytes: int, replace: bool = False
) -> StoredFile:
    """Put a file into the inbox: seen by nobody before it is whole.

    :param replace: a file of this name with another content may be replaced.
    :raises RequestError: the name is not one, or taken.
    :raises DocumentTooLargeError: it is larger than a document may be.
    :raises InboxUnavailableError: the storage does not take it.
    """
    with inbox.upload(name, most_bytes=most_bytes) as upload:
        for piece in pieces:
            upload.write(piece)
        return upload.finish(replace=replace)


def read_pieces(root: Path, path: str, *, piece_bytes: int = 2**20) -> Iterator[bytes]:
    """The content of the file ``path`` below a folder of this machine, piece by piece.

    :param root: without a link in it.
    :raises RefusedFileError: it is no regular file with a single name, or reached by a link.
    :raises OSError: it cannot be read.
    """
    with open_file(str(root), path) as file:
        while piece := file.read(piece_bytes):
            yield piece
