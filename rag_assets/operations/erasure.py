"""Erase a document or a version: its source, its rows, and what quotes it elsewhere.

What is left to quote it is deleted or masked first and its own texts last, so that an erasure that
was interrupted can be repeated.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rag_assets.bible.versions import list_version_folders
from rag_assets.documents.corpora import registered, settings_for
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.sql.documents import find_documents
from rag_assets.errors import ConfigurationError
from rag_assets.operations.quotes import Quotes
from rag_assets.operations.sql import erasing
from rag_assets.operations.sql.erasing import Erasable
from rag_assets.postgres.database import Connection, Database, embedded_folder
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.served import active_release
from rag_assets.vectors.sql.spaces import all_spaces
from rag_assets.vectors.sql.tables import Corpus, VectorTable
from rag_assets.visible import count

_BLOCK = 1 << 20
_BINARY = 8192
"""Bytes in which a binary file is recognized by a zero byte."""


@dataclass(frozen=True)
class Traces:
    """What Dagster has of a document or a version.

    :param database: its database.
    :param under_way: whether a run is working on it.
    :param forget: deletes its partition and the runs of only that; what and how many.
    :param folders: where runs leave logs and results.
    """

    database: Database
    under_way: Callable[[str], bool]
    forget: Callable[[Corpus, str], Mapping[str, int]]
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Erased:
    """What an erasure did.

    :param source: the deleted file or folder; empty if there was none.
    :param deleted: rows, runs and partitions by what they were, including those that a sensor has
        deleted since the source was.
    :param masked: rows by table, and passages by file, that quoted the text.
    :param remains: what may still have the text, and until when.
    """

    key: str
    source: str
    deleted: Mapping[str, int]
    masked: Mapping[str, int]
    remains: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What an erasure is about to delete.

    :param source: the file or folder; empty if it is gone.
    """

    found: Erasable
    source: str
    delete_source: Callable[[], None]


def plan_document(connection: Connection, settings: Settings, key: str) -> Plan:
    """Read what a document has.

    :raises ConfigurationError: a run is processing it.
    :raises InboxUnavailableError: its file cannot be found out.
    """
    (document,) = find_documents(connection, [key])
    if document.state == "running":
        raise ConfigurationError(f"{key} is being processed: repeat this when the run has ended")
    inbox = open_inbox(settings_for(settings, registered(connection, document.corpus)))
    there = inbox.find(document.path) is not None
    return Plan(
        erasing.erasable_document(connection, key),
        f"{inbox.describe().rstrip('/')}/{document.path}" if there else "",
        lambda: inbox.remove(document.path) if there else None,
    )


def plan_version(connection: Connection, settings: Settings, code: str) -> Plan:
    """Read what a version has.

    :raises ConfigurationError: there is neither a version nor a folder with this code.
    """
    found = erasing.erasable_version(connection, code)
    folder = next(
        (one.path for one in list_version_folders(settings.rag_bibles_dir) if one.code == code),
        None,
    )
    if not found.texts and folder is None:
        raise ConfigurationError(
            f"there is no version {code}, and no folder: `rag-assets bible list` lists them"
        )
    return Plan(found, str(folder or ""), lambda: _delete_folder(folder) if folder else None)


def _delete_folder(folder: Path) -> None:
    try:
        folder.unlink() if folder.is_symlink() else shutil.rmtree(folder)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be deleted ({error.strerror}): delete it, then repeat this"
        ) from error


def erase(
    database: Database, settings: Settings, plan: Plan, traces: Traces, *, progress: Progress
) -> Erased:
    """Delete the source, what quotes the texts, and the texts with all that was made of them.

    :raises ConfigurationError: a run is working on it, or its source cannot be deleted; nothing was
        erased.
    """
    found = plan.found
    if traces.under_way(found.key):
        raise ConfigurationError(
            f"a run is working on {found.key}: repeat this when it has ended, or cancel it"
        )
    quotes = Quotes(found.texts)
    progress.start(f"erasing {found.key}", 5)
    with database.connect() as connection:  # a running sensor withdraws what has no source
        stored = erasing.counted(connection, found)
    plan.delete_source()
    progress.advance(1)
    deleted = dict(traces.forget(found.corpus, found.key))
    with traces.database.connect() as connection:
        masked = dict(erasing.mask_quotes(connection, quotes))
    progress.advance(1)
    for file in _text_files((settings.rag_home, *traces.folders), embedded_folder(settings)):
        if passages := mask_file(file, quotes):
            masked[str(file)] = passages
    progress.advance(1)
    with database.connect() as connection:
        masked |= erasing.mask_quotes(connection, quotes, leave=erasing.TEXT_TABLES)
        erased = erasing.erase_from_corpus(connection, found)
        deleted |= {what: max(number, stored.get(what, 0)) for what, number in erased.items()}
        elsewhere = erasing.also_elsewhere(connection, found)
    progress.advance(1)
    with database.connect(autocommit=True) as connection:
        erasing.vacuum(connection, _tables(connection, found.corpus))
        remains = _remains(connection, settings, found, elsewhere)
    progress.advance(1)
    return Erased(found.key, plan.source, deleted, masked, remains)


def _tables(connection: Connection, corpus: Corpus) -> Iterable[str]:
    yield "verses" if corpus == "bible" else "document_chunks"
    for space in all_spaces(connection):
        yield VectorTable(corpus, space).name


def _text_files(folders: Iterable[Path], leave: Path) -> Iterable[Path]:
    """Files below these folders, each once, except for those of the database server."""
    seen: set[Path] = set()
    for folder in folders:
        for path in folder.resolve().rglob("*"):
            inside = path.is_relative_to(leave.resolve())
            if path not in seen and not inside and path.is_file() and not path.is_symlink():
                seen.add(path)
                yield path


def mask_file(path: Path, quotes: Quotes) -> int:
    """Mask quotes in a text file in its place, while others append to it; the passages masked.

    A passage is replaced by as many bytes, so that what others append stays in its place.
    """
    masked = 0
    try:
        with path.open("r+b") as file:
            if b"\0" in file.read(_BINARY):
                return 0
            file.seek(0)
            while block := file.read(_BLOCK) + file.readline():
                end = file.tell()
                # Each byte that is not UTF-8 becomes one character, and that byte again.
                text = block.decode(errors="surrogateescape")
                for start, last in quotes.spans(text):
                    size = len(text[start:last].encode(errors="surrogateescape"))
                    before = len(text[:start].encode(errors="surrogateescape"))
                    file.seek(end - len(block) + before)
                    file.write(b"*" * size)
                    masked += 1
                file.seek(end)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be searched for quotes ({error.strerror}): correct its permissions, "
            "then repeat this"
        ) from error
    return masked


def _remains(
    connection: Connection, settings: Settings, found: Erasable, elsewhere: int
) -> tuple[str, ...]:
    """What this program cannot erase, as sentences."""
    held = erasing.copies(connection)
    release = active_release(connection)
    lines = ["backups and dumps of both databases, of files and of volumes: until you delete them"]
    if held.archives:
        lines.append("the archive of PostgreSQL's write-ahead log (archive_mode): until it expires")
    if held.standbys:
        lines.append(f"{count(held.standbys, 'standby server')}: until they have caught up")
    lines.append(
        "free space in PostgreSQL's files and write-ahead log, which no query reads: until it is "
        "overwritten; `VACUUM FULL` of a table rewrites it"
    )
    lines.append("logs kept outside of RAG_HOME, by containers or a collector, and messages sent")
    if settings.rag_embedding_provider == "openai" and found.hashes:
        lines.append("the embedding provider, as long as its terms say")
    if elsewhere:
        lines.append(f"{count(elsewhere, 'equal text')} of other documents or versions, unchanged")
    if found.corpus == "bible" and release and found.key in release.versions:
        lines.append(
            f"release {release.release_id} still names {found.key}, without any text: "
            "`rag-assets audit --repair` releases without it"
        )
    return tuple(lines)
