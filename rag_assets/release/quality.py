"""Are the vectors of a version, or of the documents, fit to be used?

Counted from the tables, decided in a pure function.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rag_assets.bible.sql.embeddings import failures
from rag_assets.bible.sql.quality import Quality, quality
from rag_assets.documents.sql.quality import documents_quality
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.evidence import check_results, record_check
from rag_assets.vectors.sql.spaces import ROLES, Space, find_space
from rag_assets.vectors.sql.tables import (
    DOCUMENTS,
    Corpus,
    VectorTable,
    bible_table,
    documents_table,
    scope_revisions,
)


@dataclass(frozen=True)
class SpaceQuality:
    """The counts of one scope in one space, and the revision of the data that was counted."""

    space: Space
    counts: Quality
    revision: int = 0
    corpus: Corpus = "bible"

    @property
    def table(self) -> VectorTable:
        return VectorTable(self.corpus, self.space)


@dataclass(frozen=True)
class _Words:
    """What a corpus' rows and scopes are called, and how its vectors are made anew."""

    rows: str
    empty: str
    mend: str


_WORDS: dict[Corpus, _Words] = {
    "bible": _Words("verses", "the version has no verses", "materialize verse_embeddings"),
    "documents": _Words(
        "chunks", "there are no chunks", "materialize document_embeddings with force: true"
    ),
}


@dataclass(frozen=True)
class Verdict:
    """One check's outcome: it passes when there are no failures.

    :param examples: rows at fault with what was found, for the failures.
    """

    check: str
    failures: tuple[str, ...]
    examples: tuple[str, ...]


CHECKS = {
    "dimension_consistency": "Every vector has the dimension of its space.",
    "completeness": "Every verse or chunk has a vector.",
    "freshness": "Every vector belongs to the text that its row has now (by hash).",
    "finite_and_normalised": "No NaN, infinity or zero vector; every norm is 1 within 0.01.",
}

_NAMED = 5
"""Rows at fault that the evidence of a failure names."""

_FAULTS = {
    "dimension_consistency": "wrong_dimension",
    "completeness": "missing",
    "freshness": "stale",
    "finite_and_normalised": "wrong_norm",
}


def version_quality(
    connection: Connection, settings: Settings, version_code: str
) -> tuple[SpaceQuality, ...]:
    """Count one version in the small space, and in the large one where anything was tried.

    A version may be embedded small only; then the large space is not judged.
    """
    found = []
    for role in ROLES:
        space = find_space(connection, settings, role)
        if space is None:
            continue
        # Read before counting: what changes in between makes the result stale, never too fresh.
        revision = scope_revisions(connection, bible_table(space)).get(version_code, 0)
        counts = quality(connection, space, version_code)
        if role == "small" or counts.embedded or failures(connection, space, version_code):
            found.append(SpaceQuality(space, counts, revision))
    return tuple(found)


def complete_versions(connection: Connection, settings: Settings) -> frozenset[str]:
    """Versions that the checks found complete and fresh in every space, and unchanged since.

    Without looking at any vector: by what the checks have left.
    """
    complete: list[frozenset[str]] = []
    for role in ROLES:
        space = find_space(connection, settings, role)
        if space is None:
            return frozenset()
        table = bible_table(space)
        revisions = scope_revisions(connection, table)
        passed = {
            (found.subject, found.check)
            for found in check_results(connection, table)
            if found.passed and found.revision == revisions.get(found.subject)
        }
        wanted = "completeness", "freshness"
        complete.append(
            frozenset(code for code in revisions if all((code, name) in passed for name in wanted))
        )
    return frozenset.intersection(*complete)


def documents_quality_now(connection: Connection, settings: Settings) -> tuple[SpaceQuality, ...]:
    """Count all documents in the small space, and in the large one where they are in it."""
    found = []
    for role in ROLES:
        space = find_space(connection, settings, role)
        if space is None:
            continue
        revision = scope_revisions(connection, documents_table(space)).get(DOCUMENTS, 0)
        if role == "small" or revision:
            counts = documents_quality(connection, space)
            found.append(SpaceQuality(space, counts, revision, "documents"))
    return tuple(found)


def keep_evidence(
    connection: Connection,
    scope: str,
    spaces: Sequence[SpaceQuality],
    checks: Collection[str],
    *,
    run_id: str,
) -> None:
    """Keep each check's result by space, for the gate."""
    for judged in spaces:
        counts = judged.counts
        for check in checks:
            sentence = named_failure(check, judged)
            record_check(
                connection,
                judged.table,
                subject=scope,
                check=check,
                reasons=(sentence,) if sentence else (),
                measured={_WORDS[judged.corpus].rows: counts.verses, "embedded": counts.embedded},
                revision=judged.revision,
                run_id=run_id,
            )


def named_failure(check: str, judged: SpaceQuality) -> str:
    """What fails a check in one space, with the first rows at fault; empty when it passes."""
    sentence = _failure(check, judged)
    rows = judged.counts.examples.get(_FAULTS[check], ())
    if not (sentence and rows):
        return sentence
    return f"{sentence} ({'; '.join(rows[:_NAMED])}{'; …' if len(rows) > _NAMED else ''})"


def judge(spaces: Sequence[SpaceQuality]) -> tuple[Verdict, ...]:
    """A verdict a check, in the order of :data:`CHECKS`. Nothing counted is a failure."""
    return tuple(_verdict(check, spaces) for check in CHECKS)


def _verdict(check: str, spaces: Sequence[SpaceQuality]) -> Verdict:
    if not any(judged.space.role == "small" for judged in spaces):
        return Verdict(check, ("no vector was ever stored in the small space",), ())
    failures = []
    examples: list[str] = []
    for judged in spaces:
        if sentence := _failure(check, judged):
            failures.append(f"{judged.space.role}: {sentence}")
            rows = judged.counts.examples.get(_FAULTS[check], ())
            examples += (f"{judged.space.role}: {row}" for row in rows)
    return Verdict(check, tuple(failures), tuple(examples))


def _failure(check: str, judged: SpaceQuality) -> str:
    counts, spec, words = judged.counts, judged.space.spec, _WORDS[judged.corpus]
    if check == "completeness":
        if not counts.verses:
            return words.empty
        if counts.missing:
            return f"{counts.missing} of {counts.verses} {words.rows} have no vector in {spec}"
    if check == "dimension_consistency" and counts.wrong_dimension:
        return (
            f"{counts.wrong_dimension} vectors of {spec.model} have another dimension than "
            f"{spec.dimensions}"
        )
    if check == "freshness" and counts.stale:
        return f"{counts.stale} vectors belong to an earlier text: {words.mend}"
    if check == "finite_and_normalised" and counts.wrong_norm:
        return f"{counts.wrong_norm} vectors are not finite or not of norm 1"
    return ""
