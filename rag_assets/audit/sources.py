"""Compare the stored texts with their files: folders of versions, and the inbox."""

from __future__ import annotations

from collections.abc import Sequence

from rag_assets.audit.model import SHOWN, Difference, Findings
from rag_assets.audit.sql.texts import verses_of
from rag_assets.bible.fingerprint import folder_hash
from rag_assets.bible.limits import ReadingLimits, reading_limits
from rag_assets.bible.model import BibleText
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.sql.verses import StoredVersion, stored_versions
from rag_assets.bible.versions import VersionFolder, list_version_folders
from rag_assets.documents.corpora import settings_for
from rag_assets.documents.inbox.files import FoundFile
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.documents.sql.intake import known_documents, withdrawn_documents
from rag_assets.embedding.batching import text_hash
from rag_assets.errors import CorpusError, ExtractionInterruptedError, RagAssetsError
from rag_assets.postgres.database import Connection
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings


def compare_sources(
    session: Connection, settings: Settings, found: Findings, progress: Progress
) -> None:
    """Read each version again whose files are those that were loaded, one at a time."""
    stored = {version.code: version for version in stored_versions(session)}
    folders = list_version_folders(settings.rag_bibles_dir)
    limits = reading_limits(settings)
    progress.start("comparing versions with their files", len(folders))
    for folder in folders:
        try:
            _compare_version(session, folder, stored.get(folder.code), limits, found)
        except (CorpusError, ExtractionInterruptedError) as error:
            found.differences.append(
                Difference("source_not_loaded", folder.code, 1, examples=(str(error),))
            )
        progress.advance(1)


def _compare_version(
    session: Connection,
    folder: VersionFolder,
    stored: StoredVersion | None,
    limits: ReadingLimits,
    found: Findings,
) -> None:
    now = folder_hash(folder.path, most_bytes=limits.most_bytes)
    if stored is None or now != stored.source_hash:
        why = "the files are not loaded" if stored is None else "the files changed since the load"
        found.differences.append(Difference("source_not_loaded", folder.code, 1, examples=(why,)))
        return
    differing = differing_verses(session, folder.code, read_version(folder.path, limits).bible)
    if differing:
        found.differences.append(
            Difference(
                "text_not_in_source", folder.code, len(differing), examples=differing[:SHOWN]
            )
        )


def differing_verses(session: Connection, code: str, bible: BibleText) -> tuple[str, ...]:
    """Verses that are stored otherwise than they were read, by reference.

    A verse that is stored twice is compared once, by the row that agrees if one does.
    """
    read = {
        (verse.book, verse.chapter, verse.verse): text_hash(verse.text) for verse in bible.verses
    }
    held: dict[tuple[str, int, int], bool] = {}
    for verse in verses_of(session, code):
        same = read.get(verse.place) == verse.text_hash
        held[verse.place] = same or held.get(verse.place, False)
    wrong = [place for place, same in held.items() if not same]
    wrong += [place for place in read if place not in held]
    return tuple(f"{code} {book} {chapter}:{verse}" for book, chapter, verse in wrong)


def compare_files(session: Connection, settings: Settings, found: Findings) -> None:
    """Find files of each inbox that should have been queued by now."""
    for corpus, options in document_corpora(session).items():
        try:
            files = open_inbox(settings_for(settings, options)).listing().files
        except RagAssetsError as error:
            found.notes.append(f"the inbox of {corpus} was not compared: {error}")
        else:
            _compare_inbox(session, settings, corpus, files, found)


def _compare_inbox(
    session: Connection,
    settings: Settings,
    corpus: str,
    files: Sequence[FoundFile],
    found: Findings,
) -> None:
    known = {
        *known_documents(session, corpus=corpus),
        *withdrawn_documents(session, corpus=corpus),
    }
    missing = tuple(
        file.path
        for file in files
        if file.path not in known and file.age_s >= settings.rag_documents_settle_s
    )
    if missing:
        found.differences.append(
            Difference(
                "file_without_document", corpus, len(missing), keys=missing,
                examples=missing[:SHOWN],
            )
        )  # fmt: skip
