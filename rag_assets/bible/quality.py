"""Counts of a version's vectors and their faults, for the checks and the gate."""

from __future__ import annotations

from rag_assets.bible.sql.embeddings import failures
from rag_assets.bible.sql.quality import count_verse_faults
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.quality import RowWords, SpaceQuality, named_failures
from rag_assets.vectors.sql.check_results import check_results
from rag_assets.vectors.sql.spaces import ROLES, find_space
from rag_assets.vectors.sql.tables import VectorTable, bible_table, scope_revisions

VERSE_WORDS = RowWords("verses", "the version has no verses", "materialize verse_embeddings")


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
        table = bible_table(space)
        # Read before counting: what changes in between makes the result stale, never too fresh.
        revision = scope_revisions(connection, table).get(version_code, 0)
        counts = count_verse_faults(connection, space, version_code)
        if role == "small" or counts.embedded or failures(connection, space, version_code):
            found.append(SpaceQuality(table, counts, VERSE_WORDS, revision))
    return tuple(found)


def version_faults(connection: Connection, table: VectorTable, version_code: str) -> dict[str, str]:
    """What is wrong with a version's vectors in one space now, by check, with the first verses."""
    counts = count_verse_faults(connection, table.space, version_code)
    return named_failures(SpaceQuality(table, counts, VERSE_WORDS))


def complete_versions(connection: Connection, settings: Settings) -> frozenset[str]:
    """Versions that the checks found complete and fresh in every space, and unchanged since.

    No vector is read: the stored results of the checks decide.
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
