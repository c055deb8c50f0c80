"""Compare a listing of the inbox with the known documents: new, changed, gone, undecided. Pure.

:mod:`.intake` lists, hashes and records.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rag_assets.documents.inbox.files import FoundFile, Listing
from rag_assets.documents.sql.intake import KnownFile

Pair = tuple[FoundFile, KnownFile]

_CURSOR = re.compile(r"([0-9a-f]{64})?@(\d+)@(\d+)")


@dataclass(frozen=True, slots=True)
class InboxChanges:
    """Changes to record, and files that cannot be decided yet.

    :param added: files that become documents, oldest first.
    :param changed: documents with new content.
    :param touched: documents with the same content and a new modification time.
    :param renamed: documents with a new path, including withdrawn ones.
    :param restored: withdrawn documents whose files are back.
    :param withdrawn: documents whose files are gone.
    :param gone: documents withdrawn by command whose file is now gone, too, or another document's.
    :param too_large: waiting documents that were not read because they are too large.
    :param unhashed: files whose content must be hashed first.
    :param settling: files that may still be written to.
    """

    added: tuple[FoundFile, ...] = ()
    changed: tuple[Pair, ...] = ()
    touched: tuple[Pair, ...] = ()
    renamed: tuple[Pair, ...] = ()
    restored: tuple[Pair, ...] = ()
    withdrawn: tuple[KnownFile, ...] = ()
    gone: tuple[KnownFile, ...] = ()
    too_large: tuple[KnownFile, ...] = ()
    unhashed: tuple[FoundFile, ...] = ()
    settling: tuple[FoundFile, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to record."""
        return not (
            self.added
            or self.changed
            or self.touched
            or self.renamed
            or self.restored
            or self.withdrawn
            or self.gone
            or self.too_large
        )


def unread_hash(size: int, modified: str) -> bytes:
    """Return a 32-byte placeholder for the hash of a file that is too large to be read."""
    return hashlib.sha256(f"{size} {modified}".encode()).digest()


def digest_of(listing: Listing) -> str:
    """Return a digest that changes whenever the listing does."""
    digest = hashlib.sha256()
    for file in listing.files:
        digest.update(f"{file.path}\0{file.bytes}\0{file.modified}\n".encode())
    for path in (*listing.refused, *listing.unlisted):
        digest.update(f"{path}\0\n".encode())
    return digest.hexdigest()


def find_changes(
    listing: Listing,
    known: Mapping[str, KnownFile],
    withdrawn: Mapping[str, KnownFile],
    hashes: Mapping[str, bytes],
    *,
    settle_s: float,
    max_bytes: int,
    complete: Container[str] = frozenset(),
) -> InboxChanges:
    """Compare a listing with the known documents.

    :param known: documents that are not withdrawn, by path.
    :param withdrawn: withdrawn documents that are still stored, by path.
    :param hashes: SHA-256 of the files hashed so far, by path.
    :param settle_s: seconds that a file must have been unchanged, unless its path is in
        ``complete``.
    :param max_bytes: size above which a file is neither hashed nor read.
    """

    def content_of(file: FoundFile) -> bytes | None:
        if file.bytes > max_bytes:
            return unread_hash(file.bytes, file.modified)
        return hashes.get(file.path)

    there = {*listing.refused, *(file.path for file in listing.files)}
    news = [f for f in listing.files if not _as_known(f, known, withdrawn, max_bytes)]
    settling = [file for file in news if file.age_s < settle_s and file.path not in complete]
    settled = [file for file in news if not file.age_s < settle_s or file.path in complete]
    unhashed = [file for file in settled if content_of(file) is None]

    lost = _Lost(_missing(known, there, listing.unlisted))
    lost_withdrawn = _Lost(_missing(withdrawn, there, listing.unlisted))
    judged = _Judged(known, withdrawn, lost, lost_withdrawn)
    for file in settled:
        content = content_of(file)
        if content is not None:
            judged.judge(file, content)

    # An undecided file may be a document that seems gone, under a new name.
    perhaps = {file.bytes for file in (*settling, *unhashed)}
    by_command = [it for it in lost_withdrawn.left() if it.withdrawn_by == "command"]
    return InboxChanges(
        added=_oldest_first(judged.added),
        changed=tuple(judged.changed),
        touched=tuple(judged.touched),
        renamed=tuple(judged.renamed),
        restored=tuple(judged.restored),
        withdrawn=tuple(it for it in lost.left() if it.bytes not in perhaps),
        gone=(*judged.replaced, *(it for it in by_command if it.bytes not in perhaps)),
        too_large=tuple(
            it
            for path, it in known.items()
            if it.state == "waiting" and it.bytes > max_bytes and path in there and _unread(it)
        ),
        unhashed=_oldest_first(unhashed),
        settling=tuple(settling),
    )


def _as_known(
    file: FoundFile,
    known: Mapping[str, KnownFile],
    withdrawn: Mapping[str, KnownFile],
    max_bytes: int,
) -> bool:
    """Return whether a file is unchanged since it was last seen, so that nothing is to be done.

    That includes files of documents withdrawn by command. A file that was too large to be read and
    is within the limit now counts as changed.
    """
    before = known.get(file.path)
    if before is None:
        before = withdrawn.get(file.path)
        if before is None or before.withdrawn_by != "command":
            return False
    if (before.bytes, before.modified) != (file.bytes, file.modified):
        return False
    return file.bytes > max_bytes or before.state == "ready" or not _unread(before)


def _unread(document: KnownFile) -> bool:
    return document.content_hash == unread_hash(document.bytes, document.modified)


def _missing(
    documents: Mapping[str, KnownFile], there: set[str], unlisted: tuple[str, ...]
) -> Iterator[tuple[str, KnownFile]]:
    """Yield documents whose files are gone, except in folders that cannot be listed."""
    for path, document in documents.items():
        if path not in there and not path.startswith(unlisted):
            yield path, document


@dataclass
class _Judged:
    """Files of the inbox, sorted by the change that they mean."""

    known: Mapping[str, KnownFile]
    withdrawn: Mapping[str, KnownFile]
    lost: _Lost
    lost_withdrawn: _Lost
    added: list[FoundFile] = field(default_factory=list)
    changed: list[Pair] = field(default_factory=list)
    touched: list[Pair] = field(default_factory=list)
    renamed: list[Pair] = field(default_factory=list)
    restored: list[Pair] = field(default_factory=list)
    replaced: list[KnownFile] = field(default_factory=list)

    def judge(self, file: FoundFile, content: bytes) -> None:
        """Classify a file whose content is known."""
        if here := self.known.get(file.path):
            (self.touched if here.content_hash == content else self.changed).append((file, here))
        elif moved := self.lost.take(file, content):
            self.renamed.append((file, moved))
            before = self.withdrawn.get(file.path)
            if before and before.withdrawn_by == "command":
                self.replaced.append(before)
        elif before := self.withdrawn.get(file.path):
            same = before.content_hash == content
            stays_withdrawn = before.withdrawn_by == "command" and same
            (self.touched if stays_withdrawn else self.restored).append((file, before))
        elif before := self.lost_withdrawn.take(file, content):
            stays_withdrawn = before.withdrawn_by == "command"
            (self.renamed if stays_withdrawn else self.restored).append((file, before))
        else:
            self.added.append(file)


class _Lost:
    """Documents whose files are gone, to be matched by content."""

    def __init__(self, documents: Iterable[tuple[str, KnownFile]]) -> None:
        self._paths = dict(documents)
        self._by_content: dict[bytes, list[str]] = defaultdict(list)
        for path, document in self._paths.items():
            self._by_content[document.content_hash].append(path)

    def take(self, file: FoundFile, content: bytes) -> KnownFile | None:
        """Remove and return a document with this content, preferably one with the same name."""
        paths = self._by_content.get(content)
        if not paths:
            return None
        name = PurePosixPath(file.path).name
        path = min(paths, key=lambda path: (PurePosixPath(path).name != name, path))
        paths.remove(path)
        return self._paths.pop(path)

    def left(self) -> Iterable[KnownFile]:
        """Return the documents that were not matched."""
        return self._paths.values()


def _oldest_first(files: Iterable[FoundFile]) -> tuple[FoundFile, ...]:
    return tuple(sorted(files, key=lambda file: (-file.age_s, file.path)))


@dataclass(frozen=True, slots=True)
class Cursor:
    """State of the last scan.

    :param digest: of the listing; empty if something was left for the next scan.
    :param at: time of the scan, in seconds since the epoch.
    :param last_id: the newest document at that time.
    """

    digest: str = ""
    at: int = 0
    last_id: int = 0

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """Parse a cursor; return an empty one if the text is none."""
        match = _CURSOR.fullmatch(text or "")
        if match is None:
            return cls()
        return cls(match[1] or "", int(match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{self.digest}@{self.at}@{self.last_id}"

    def still_holds(self, digest: str, now: float, *, for_s: float) -> bool:
        """Return whether the listing is unchanged, and the scan less than ``for_s`` seconds old."""
        return bool(self.digest) and self.digest == digest and 0 <= now - self.at < for_s
