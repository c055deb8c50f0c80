"""Add documents by command: copy them into the inbox and put them into the queue immediately."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rag_assets.documents.inbox.files import is_ignored
from rag_assets.documents.inbox.inbox import Inbox, put, read_pieces
from rag_assets.documents.inbox.intake import take_files
from rag_assets.documents.sql.intake import known_documents
from rag_assets.errors import (
    ConfigurationError,
    DocumentError,
    InboxUnavailableError,
    RequestError,
)
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.sandbox.beneath import RefusedFileError, entries_of
from rag_assets.settings.documents import MB
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import DOCUMENTS
from rag_assets.visible import visible

_BATCH = 200
_REFUSALS = (RequestError, DocumentError, InboxUnavailableError, RefusedFileError, OSError)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to add: ``path`` below ``root``, which contains no link.

    :param shown: its path as given by the caller.
    :param name: its name in the inbox.
    """

    shown: str
    root: Path
    path: str
    name: str


@dataclass(frozen=True)
class Adding:
    """Result of :func:`add_files`.

    :param keys: document keys, by path in the inbox.
    :param refused: why a file was not added, by its path on this machine.
    """

    keys: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def add_files(
    database: Database,
    inbox: Inbox,
    settings: Settings,
    paths: Sequence[Path],
    *,
    corpus: str = DOCUMENTS,
    replace: bool = False,
    progress: Progress,
) -> Adding:
    """Copy files and folders into an inbox unless they are there, and put them into the queue.

    :raises ConfigurationError: a path does not exist.
    """
    adding = Adding()
    files = list(_files(paths, adding))
    progress.start("copying", len(files))
    for start in range(0, len(files), _BATCH):
        stored = []
        for source in files[start : start + _BATCH]:
            try:
                stored.append(_stored(inbox, source, settings, replace=replace))
            except _REFUSALS as error:
                adding.refused[visible(source.shown)] = str(error)
            progress.advance(1)
        with database.connect() as connection:
            take_files(connection, inbox, settings, stored, corpus=corpus)
            known = known_documents(connection, stored, corpus=corpus)
        for path in stored:
            if path in known:
                adding.keys[path] = known[path].key
            else:
                adding.refused[path] = "is in the inbox but cannot be read: the next scan retries"
    return adding


def _stored(inbox: Inbox, source: _Source, settings: Settings, *, replace: bool) -> str:
    """Copy a file into the inbox unless it is there; return its path in the inbox."""
    inside, place = Path(inbox.describe()), Path(source.root, source.path)
    if inside.is_absolute() and place.is_relative_to(inside):
        path = place.relative_to(inside).as_posix()
        if inbox.find(path) is not None:
            return path
    max_bytes = settings.rag_documents_max_mb * MB
    pieces = read_pieces(source.root, source.path)
    return put(inbox, source.name, pieces, max_bytes=max_bytes, replace=replace).path


def _files(paths: Sequence[Path], adding: Adding) -> Iterator[_Source]:
    """Yield the files to add. Links given as arguments are followed, links in folders are not."""
    for path in paths:
        real = path.resolve()
        if real.is_file():
            yield _Source(str(path), real.parent, real.name, path.name)
        elif real.is_dir():
            yield from _below(path, real, "", adding)
        else:
            raise ConfigurationError(f"there is no file or folder {visible(str(path))}")


def _below(shown: Path, root: Path, folder: str, adding: Adding) -> Iterator[_Source]:
    """Yield the files below ``folder`` in ``root``, which the caller named ``shown``."""
    try:
        with entries_of(str(root), folder) as found:
            kinds = {entry.name: _kind(entry) for entry in found if not is_ignored(entry.name)}
    except (RefusedFileError, OSError) as error:
        adding.refused[visible(str(shown / folder))] = f"cannot be listed: {error}"
        return
    for name, kind in sorted(kinds.items()):
        path = f"{folder}/{name}" if folder else name
        if kind == "folder":
            yield from _below(shown, root, path, adding)
        elif kind == "file":
            yield _Source(str(shown / path), root, path, f"{root.name}/{path}")
        else:
            adding.refused[visible(str(shown / path))] = kind


def _kind(entry: os.DirEntry[str]) -> str:
    """Return ``file`` or ``folder``, or why it is neither."""
    if entry.is_symlink():
        return "is a link, which is not followed"
    if entry.is_dir():
        return "folder"
    return "file" if entry.is_file() else "is neither a file nor a folder"
