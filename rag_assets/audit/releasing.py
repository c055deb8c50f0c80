"""Judge versions again whose released rows changed, and release them through the gate.

Other releases wait for a repair, and it for them: what one judges the other would change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rag_assets.bible.embed_verses import EmbedOptions
from rag_assets.bible.embed_versions import embed_spaces
from rag_assets.bible.quality import version_quality
from rag_assets.bible.sql.verses import stored_versions
from rag_assets.index.checks import INDEX_CHECKS, judge_index
from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.postgres import locks
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.release.releasing import release
from rag_assets.settings.model import Settings
from rag_assets.vectors.quality import QUALITY_CHECKS, keep_evidence
from rag_assets.vectors.sql.served import active_release
from rag_assets.vectors.sql.tables import record_change


def release_again(
    database: Database,
    settings: Settings,
    versions: Sequence[str],
    *,
    run_id: str,
    progress: Progress,
) -> None:
    """Check the versions and the index, and release what passes.

    Vectors that no embedding run wrote are compared with the provider's first, as
    ``rag-assets bible embed`` does. The model is not changed.

    :raises RagAssetsError: a step failed, or the gate refuses; the active release stays.
    """
    with database.connect() as connection:
        stored = {version.code for version in stored_versions(connection)}
    for code in stored.intersection(versions):  # the gate leaves out those that were removed
        with database.connect() as connection:
            judged = version_quality(connection, settings, code)
            for one in judged:  # a change that no trigger saw is one: earlier evidence is stale
                record_change(connection, one.table, code, 0)
        roles = tuple(one.space.role for one in judged)
        embed_spaces(
            database, settings, code, EmbedOptions(roles=roles), run_id=run_id, progress=progress
        )
    judge_again(database, settings, versions, run_id=run_id, progress=progress)
    release(database, settings, run_id=run_id, keep_model=True, progress=progress)


def judge_again(
    database: Database,
    settings: Settings,
    versions: Sequence[str] = (),
    *,
    run_id: str,
    progress: Progress,
) -> None:
    """Renew the evidence on these versions, on those that are served, and on the indexes.

    :raises RagAssetsError: a step failed.
    """
    with database.connect() as connection:
        stored = {version.code for version in stored_versions(connection)}
        active = active_release(connection)
        # Repairs have changed other versions, too: their checks are older than their data.
        for code in stored.intersection((*versions, *(active.versions if active else ()))):
            judged = version_quality(connection, settings, code)
            keep_evidence(connection, code, judged, list(QUALITY_CHECKS), run_id=run_id)
    with database.connect() as connection:
        tables = indexed_tables(connection, settings)
    for table in tables:
        maintain(database, settings, table, IndexRequest(), run_id=run_id, progress=progress)
    for table in tables[:1]:  # the one for the next release
        for verdict in judge_index(
            database, settings, table, list(INDEX_CHECKS), run_id=run_id, progress=progress
        ):
            if verdict.failures:
                progress.say(f"{verdict.check}: {'; '.join(verdict.failures)}")


@contextmanager
def without_repairs(database: Database, progress: Progress) -> Iterator[bool]:
    """Keep repairs waiting while the block runs; yields whether it had to wait for one itself."""
    waited: list[bool] = []

    def waiting() -> None:
        waited.append(True)
        progress.say("an audit's repair is under way: waiting for it")

    with database.connect(autocommit=True) as session:
        locks.lock_session(session, locks.REPAIRING, waiting=waiting, shared=True)
        yield bool(waited)
