"""Expected verses: in which versions they are, and how far each has come."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from rag_assets.bible.fingerprint import folder_hash
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.locate import lines_of
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.sql.oddities import stored_oddities
from rag_assets.documents.sql.lanes import paused_lanes
from rag_assets.embedding.batching import text_hash
from rag_assets.errors import CorpusError
from rag_assets.lanes import BIBLE_LANE
from rag_assets.retrieval.confinement import EVERYTHING
from rag_assets.retrieval.explain.expectation import Context, ExpectedVerse, Passage
from rag_assets.retrieval.explain.model import Verdict
from rag_assets.retrieval.explain.stored import OUTSIDE_KEY_SCOPE, VerseFacts, verse_stopped
from rag_assets.retrieval.sql.stored import (
    DeclaredVersion,
    StoredPassage,
    declared_versions,
    stored_verses,
)
from rag_assets.vectors.sql.tables import bible_table


def passages_of_verse(
    context: Context, wanted: ExpectedVerse, read: Collection[str]
) -> list[Passage]:
    """The verse in the version asked for, or in each that the search reads and that has it.

    If none of these has it: in each other version that has it and that the client may read.

    :param read: the versions that the search reads.
    """
    may = context.request.confinement
    declared = {
        code: one
        for code, one in declared_versions(
            context.connection, timeout_ms=context.timeout_ms
        ).items()
        if may.allows_corpus("bible") and may.allows_version(code, one.language)
    }
    hidden = not may.allows_corpus("bible") or (
        may != EVERYTHING and wanted.version is not None and wanted.version not in declared
    )
    if hidden:
        asked = wanted.asked
        return [Passage(asked, asked, "bible", (), {}, lambda: OUTSIDE_KEY_SCOPE)]
    rows = {
        row.place: row
        for row in stored_verses(
            context.connection,
            bible_table(context.served.target.table.space),
            (wanted.book, wanted.chapter, wanted.verse),
            timeout_ms=context.timeout_ms,
        )
        if row.place in declared
    }
    if wanted.version is not None:
        codes = [wanted.version]
    else:
        codes = sorted(rows.keys() & set(read)) or sorted(rows)
        if not codes and len(declared) == 1:
            codes = list(declared)
    return [_in_version(context, wanted, code, declared.get(code), rows.get(code))
            for code in codes] or [_in_none(wanted, declared)]  # fmt: skip


def _in_none(wanted: ExpectedVerse, declared: Mapping[str, DeclaredVersion]) -> Passage:
    verdict = Verdict(
        "not_in_source",
        f"None of {len(declared)} loaded versions has {wanted.name} with text.",
        "rag-assets bible list",
    )
    return Passage(wanted.asked, wanted.name, "bible", (), {}, lambda: verdict)


def _in_version(
    context: Context,
    wanted: ExpectedVerse,
    code: str,
    declared: DeclaredVersion | None,
    row: StoredPassage | None,
) -> Passage:
    return Passage(
        wanted.asked,
        f"{code} {wanted.name}",
        "bible",
        (row.id,) if row is not None and row.embedded else (),
        {"versions": (code,), "books": (wanted.book,)},
        lambda: verse_stopped(_facts(context, wanted, code, declared, row)),
    )


def _facts(
    context: Context,
    wanted: ExpectedVerse,
    code: str,
    declared: DeclaredVersion | None,
    row: StoredPassage | None,
) -> VerseFacts:
    folder = context.settings.rag_bibles_dir / code
    changed, in_files = False, ""
    most_bytes = reading_limits(context.settings).most_bytes
    with suppress(CorpusError, OSError):  # the files need not be on this machine
        if declared is not None:
            changed = folder_hash(folder, most_bytes=most_bytes) != declared.source_hash
        if changed and row is None:
            key = wanted.book, wanted.chapter, wanted.verse
            at = lines_of(folder, {key}, most_bytes=most_bytes).get(key)
            in_files = f"{at.file}, line {at.line}" if at else ""
        if changed and row is not None:
            changed = _text_hash(context, folder, wanted) != row.text_hash
    allowed = context.settings.allowed_versions()
    return VerseFacts(
        reference=wanted.name,
        code=code,
        book=wanted.book,
        declared=declared,
        has_folder=folder.is_dir(),
        passage=row,
        oddity="" if row else _oddity(context, code, wanted),
        changed=changed,
        in_files=in_files,
        in_setting=not allowed or code in allowed,
        released=code in context.served.target.scopes,
        release_id=context.served.release_id,
        pause=paused_lanes(context.connection).get(BIBLE_LANE),
    )


def _text_hash(context: Context, folder: Path, wanted: ExpectedVerse) -> bytes | None:
    """Of the verse as the files have it now; ``None`` if they do not.

    :raises CorpusError: they cannot be read.
    """
    read = read_version(folder, reading_limits(context.settings)).bible
    for verse in read.verses:
        if (verse.book, verse.chapter) == (wanted.book, wanted.chapter) and (
            verse.verse <= wanted.verse <= verse.verse_end
        ):
            return text_hash(verse.text)
    return None


def _oddity(context: Context, code: str, wanted: ExpectedVerse) -> str:
    """What the reader of the version's files noted about the verse, its chapter or its book."""
    usfm = f"{wanted.book} {wanted.chapter}:{wanted.verse}"
    for one in stored_oddities(context.connection, code) or ():
        if one.reference in (usfm, wanted.book):
            return f"{one.kind.value.replace('_', ' ')}{f' ({one.detail})' * bool(one.detail)}"
    return ""
