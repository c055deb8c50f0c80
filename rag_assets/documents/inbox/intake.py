"""From the inbox into the queue: list, hash new files, find the changes, record them.

A scan does not modify the inbox. It may be repeated, interrupted, and run concurrently: changes are
computed again and recorded under a lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rag_assets.documents.inbox.changes import (
    Cursor,
    InboxChanges,
    Pair,
    digest_of,
    find_changes,
    unread_hash,
)
from rag_assets.documents.inbox.files import FoundFile, Listing, document_key, refuse_too_large
from rag_assets.documents.inbox.inbox import Inbox
from rag_assets.documents.model import READER
from rag_assets.documents.sql.documents import find_documents
from rag_assets.documents.sql.intake import (
    FileNow,
    KnownFile,
    NewDocument,
    add_documents,
    key_taken,
    known_documents,
    newest_document,
    record_changed,
    record_files_gone,
    record_renamed,
    record_touched,
    refuse,
    restore,
    withdrawn_documents,
)
from rag_assets.documents.sql.queue import requeue_outdated
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.errors import InboxUnavailableError
from rag_assets.lanes import lane_of, priority_of
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.documents import MB
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import DOCUMENTS

PATIENCE_S = 20.0
"""Time limit for hashing in one scan; the rest waits for the next. A Dagster tick may take 60 s."""
FULL_SCAN_S = 600
"""Time between scans that query the database although the inbox is unchanged, to catch files that
were uploaded and removed between two scans."""
_SHOWN = 20


@dataclass(frozen=True)
class Intake:
    """Result of a scan.

    :param cursor: for the next scan, which ends early if nothing has changed and nothing was left.
    :param new_keys: keys of documents new or restored since the last scan, including those added by
        command or API; without a cursor, of every document.
    :param by_hand: the number of documents added by command or API; 0 without a cursor.
    :param reread: documents read by an older version of the extraction, and requeued.
    :param waiting: files left for the next scan: still being written, or above the limit of one
        scan; ``settling``: the former.
    :param remarks: what an operator should check, one sentence each.
    """

    cursor: str
    added: int = 0
    updated: int = 0
    renamed: int = 0
    restored: int = 0
    withdrawn: int = 0
    by_hand: int = 0
    reread: int = 0
    new_keys: tuple[str, ...] = ()
    waiting: int = 0
    settling: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether any document is new or has changed since the last scan."""
        counts = (self.added, self.updated, self.renamed, self.restored, self.withdrawn)
        return any(counts) or self.reread > 0 or bool(self.new_keys)

    def __str__(self) -> str:
        parts = [
            f"{count:,} {what}"
            for count, what in (
                (self.added, "new"),
                (self.updated, "changed"),
                (self.renamed, "renamed"),
                (self.restored, "back"),
                (self.withdrawn, "withdrawn"),
                (self.by_hand, "added between scans"),
                (self.reread, "to be re-read"),
                (self.waiting, "left for the next scan"),
            )
            if count
        ]
        return ", ".join(parts) or "nothing new in the inbox"


def take_in(
    database: Database,
    inbox: Inbox,
    settings: Settings,
    *,
    corpus: str = DOCUMENTS,
    cursor: str | None = None,
    complete: Container[str] = frozenset(),
    force: bool = False,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.time,
) -> Intake:
    """Scan the inbox of a corpus and record its changes.

    :param settings: as they apply to the corpus.
    :param cursor: of the last scan.
    :param complete: files that need not settle.
    :param force: withdraw every document if the inbox is empty.
    :param patience_s: time limit for hashing.
    :raises InboxUnavailableError: the inbox cannot be listed, or is empty although documents are
        known; nothing was recorded.
    """
    listing = inbox.listing()
    digest = digest_of(listing)
    before = Cursor.read(cursor)
    if before.still_holds(digest, clock(), for_s=FULL_SCAN_S):
        return Intake(str(before))
    limit = settings.rag_documents_per_tick
    with database.connect() as connection:
        known, withdrawn = _stored(connection, corpus)
        if known and not listing.files and not listing.refused and not force:
            raise _empty(inbox, corpus, len(known))
        reread = requeue_outdated(connection, READER, limit=limit)
    find = partial(
        find_changes, listing,
        settle_s=settings.rag_documents_settle_s, max_bytes=_max_bytes(settings), complete=complete,
    )  # fmt: skip
    changes = find(known, withdrawn, {})
    hashes, faults = _hash(inbox, changes.unhashed, limit=limit, patience_s=patience_s, clock=clock)
    new_keys: tuple[str, ...] = ()
    newest = max((before.last_id, *(document.document_id for document in known.values())))
    if hashes or not changes.nothing:
        with database.connect() as connection:
            locks.lock_transaction(connection, locks.RECORDING_INTAKE)
            known, withdrawn = _stored(connection, corpus)
            changes = find(known, withdrawn, hashes)
            new_keys = _record(connection, changes, hashes, settings, corpus)
            newest = newest_document(connection)
    left = len(changes.unhashed) + len(changes.settling)
    by_hand = _by_hand(known, changes, before)
    return replace(
        _intake(changes, (*new_keys, *by_hand)),
        by_hand=len(by_hand) if before.last_id else 0,
        reread=reread,
        cursor=str(Cursor("" if left or reread else digest, int(clock()), newest)),
        waiting=left,
        settling=len(changes.settling),
        remarks=(*map(str, listing.troubles[:_SHOWN]), *faults[:_SHOWN]),
    )


def _stored(
    connection: Connection, corpus: str
) -> tuple[dict[str, KnownFile], dict[str, KnownFile]]:
    """The documents of a corpus by path, and those that are withdrawn."""
    return (
        known_documents(connection, corpus=corpus),
        withdrawn_documents(connection, corpus=corpus),
    )


def _empty(inbox: Inbox, corpus: str, known: int) -> InboxUnavailableError:
    own = corpus == DOCUMENTS
    address = "RAG_DOCUMENTS_URL" if own else f"the inbox URL of corpus {corpus}"
    option = "" if own else f" --corpus {corpus}"
    return InboxUnavailableError(
        f"the inbox {inbox.describe()} is empty, but {known:,} documents are known: "
        f"is it mounted, is {address} right? None was withdrawn; "
        f"`rag-assets documents scan --force{option}` withdraws them all"
    )


def _by_hand(
    known: Mapping[str, KnownFile], changes: InboxChanges, before: Cursor
) -> tuple[str, ...]:
    """Return the keys of documents added since the last scan other than from the inbox."""
    gone = {document.document_id for document in changes.withdrawn}
    return tuple(
        document.key
        for document in known.values()
        if document.document_id > before.last_id and document.document_id not in gone
    )


def take_files(
    connection: Connection,
    inbox: Inbox,
    settings: Settings,
    paths: Sequence[str],
    *,
    corpus: str = DOCUMENTS,
) -> Intake:
    """Record files that were added to a corpus by command or API, without scanning its inbox.

    A withdrawn document is restored, whoever withdrew it.

    :raises InboxUnavailableError: the inbox does not answer.
    """
    found = tuple(file for path in paths if (file := inbox.find(path)) is not None)
    hashes, faults = _hash(inbox, found, limit=len(found))
    with connection.transaction():
        locks.lock_transaction(connection, locks.RECORDING_INTAKE)
        changes = find_changes(
            Listing(found),
            known_documents(connection, paths, corpus=corpus),
            {
                path: replace(document, withdrawn_by="inbox")
                for path, document in withdrawn_documents(connection, paths, corpus=corpus).items()
            },
            hashes,
            settle_s=float("-inf"),
            max_bytes=_max_bytes(settings),
        )
        new_keys = _record(connection, changes, hashes, settings, corpus)
    return replace(_intake(changes, new_keys), remarks=tuple(faults))


def _intake(changes: InboxChanges, new_keys: tuple[str, ...]) -> Intake:
    return Intake(
        "",
        added=len(changes.added),
        updated=len(changes.changed),
        renamed=len(changes.renamed),
        restored=len(changes.restored),
        withdrawn=len(changes.withdrawn),
        new_keys=new_keys,
    )


def _hash(
    inbox: Inbox,
    files: Iterable[FoundFile],
    *,
    limit: int,
    patience_s: float = float("inf"),
    clock: Callable[[], float] = time.time,
) -> tuple[dict[str, bytes], list[str]]:
    """Hash files up to the limits of number and time; return hashes by path, and faults.

    Files that change while being hashed are skipped.
    """
    hashes: dict[str, bytes] = {}
    faults: list[str] = []
    ends = clock() + patience_s
    for file in files:
        if len(hashes) >= limit or (hashes and clock() > ends):
            break
        try:
            content = inbox.content_hash(file.path)
            now = inbox.find(file.path)
        except InboxUnavailableError as error:
            faults.append(str(error))
            continue
        if now is not None and (now.bytes, now.modified) == (file.bytes, file.modified):
            hashes[file.path] = content
    return hashes, faults


def _record(
    connection: Connection,
    changes: InboxChanges,
    hashes: Mapping[str, bytes],
    settings: Settings,
    corpus: str,
) -> tuple[str, ...]:
    """Record the changes in the connection's transaction; return new and restored keys."""

    def now(pairs: Iterable[Pair]) -> list[FileNow]:
        return [_file_now(file, document, hashes, settings) for file, document in pairs]

    record_files_gone(connection, [document.document_id for document in changes.gone])
    record_renamed(connection, now(changes.renamed))
    back = restore(connection, now(changes.restored))
    record_changed(connection, now(changes.changed))
    record_touched(connection, now(changes.touched))
    new = _add(connection, changes.added, hashes, settings, corpus)
    _refuse_too_large(connection, changes, new, settings)
    # Last, because it locks the vectors, and the holder of that lock must not wait for rows.
    if changes.withdrawn:
        withdraw(connection, [document.key for document in changes.withdrawn], by="inbox")
    return (*back, *(document.key for document in new))


def _file_now(
    file: FoundFile, document: KnownFile, hashes: Mapping[str, bytes], settings: Settings
) -> FileNow:
    return FileNow(
        document.document_id,
        file.path,
        file.bytes,
        file.modified,
        _content_of(file, hashes, settings),
        lane_of(file.bytes, settings),
        priority_of(file.bytes, settings),
    )


def _add(
    connection: Connection,
    files: Sequence[FoundFile],
    hashes: Mapping[str, bytes],
    settings: Settings,
    corpus: str,
) -> tuple[NewDocument, ...]:
    """Insert new documents, each with an unused key."""
    new: dict[str, NewDocument] = {}

    def taken(key: str) -> bool:
        return key in new or key_taken(connection, key)

    for file in files:
        key = document_key(file.path, taken)
        new[key] = NewDocument(
            key,
            file.path,
            file.bytes,
            file.modified,
            _content_of(file, hashes, settings),
            lane_of(file.bytes, settings),
            priority_of(file.bytes, settings),
            corpus,
        )
    added = set(add_documents(connection, list(new.values()))) if new else set()
    return tuple(document for key, document in new.items() if key in added)


def _content_of(file: FoundFile, hashes: Mapping[str, bytes], settings: Settings) -> bytes:
    if file.bytes > _max_bytes(settings):
        return unread_hash(file.bytes, file.modified)
    return hashes[file.path]


def _refuse_too_large(
    connection: Connection,
    changes: InboxChanges,
    new: Iterable[NewDocument],
    settings: Settings,
) -> None:
    """Turn documents above the maximum size into dead letters without reading them.

    That includes documents that an operator requeued although they are still too large.
    """
    limit = _max_bytes(settings)
    pairs = (*changes.changed, *changes.restored)
    large = {document.key for file, document in pairs if file.bytes > limit}
    large |= {document.key for document in new if document.bytes > limit}
    large |= {document.key for document in changes.too_large}
    for document in find_documents(connection, sorted(large)):
        error = refuse_too_large(document.path, limit)
        refuse(connection, document.key, type(error).__name__, str(error))


def _max_bytes(settings: Settings) -> int:
    return settings.rag_documents_max_mb * MB
