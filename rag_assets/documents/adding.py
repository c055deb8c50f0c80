"""Documents given by a person: copied into the inbox, then put into the queue at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rag_assets.corpus.documents.inbox import Inbox, put, read_pieces
from rag_assets.corpus.documents.inbox_files import is_ignored
from rag_assets.documents.intake import take_files
from rag_assets.documents.rules import MB
from rag_assets.errors import (
    ConfigurationError,
    DocumentError,
    InboxUnavailableError,
    RequestError,
)
from rag_assets.progress import Progress
from rag_assets.settings import Settings
from rag_assets.store.database import Database
from rag_assets.store.document_intake import known_documents
from rag_assets.visible import visible

_BATCH = 200


@dataclass(frozen=True)
class Adding:
    """What was added.

    :param keys: of the documents, by their paths in the inbox.
    :param refused: why a file was not taken, by its path on this machine.
    """

    keys: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def add_files(
    database: Database,
    inbox: Inbox,
    settings: Settings,
    paths: Sequence[Path],
    *,
    replace: bool = False,
    progress: Progress,
) -> Adding:
    """Copy files, and folders of files, into the inbox and put them into the queue.

    One that is in the inbox already, and is given from there, is not copied. One that cannot be
    taken is told of; the others are.

    :raises ConfigurationError: a path does not exist.
    """
    adding = Adding()
    files = list(_files(paths, adding))
    progress.start("copying", len(files))
    for start in range(0, len(files), _BATCH):
        stored = []
        for source, name in files[start : start + _BATCH]:
            try:
                stored.append(_stored(inbox, source, name, settings, replace=replace))
            except (RequestError, DocumentError, InboxUnavailableError, OSError) as error:
                adding.refused[visible(str(source))] = str(error)
            progress.advance(1)
        with database.connect() as connection:
            take_files(connection, inbox, settings, stored)
            known = known_documents(connection, stored)
        for path in stored:
            if path in known:
                adding.keys[path] = known[path].key
            else:
                adding.refused[path] = "is in the inbox but cannot be read now: the next look tries"
    return adding


def _stored(inbox: Inbox, source: Path, name: str, settings: Settings, *, replace: bool) -> str:
    """Where a file is in the inbox, after copying it there if need be."""
    inside = Path(inbox.describe())
    resolved = source.resolve()
    if inside.is_absolute() and resolved.is_relative_to(inside):
        path = resolved.relative_to(inside).as_posix()
        if inbox.find(path) is not None:
            return path
    most_bytes = settings.rag_documents_max_mb * MB
    return put(inbox, name, read_pieces(source), most_bytes=most_bytes, replace=replace).path


def _files(paths: Sequence[Path], adding: Adding) -> Iterator[tuple[Path, str]]:
    """Files with the names that they get in the inbox. Of a folder, links are not followed."""
    for path in paths:
        if path.is_file():
            yield path, path.name
        elif path.is_dir():
            yield from _below(path, path.resolve().name, adding)
        else:
            raise ConfigurationError(f"there is no file or folder {visible(str(path))}")


def _below(folder: Path, name: str, adding: Adding) -> Iterator[tuple[Path, str]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if is_ignored(entry.name):
            continue
        if entry.is_symlink():
            adding.refused[visible(entry.path)] = "is a link, which is not followed"
        elif entry.is_dir():
            yield from _below(Path(entry.path), f"{name}/{entry.name}", adding)
        elif entry.is_file():
            yield Path(entry.path), f"{name}/{entry.name}"
