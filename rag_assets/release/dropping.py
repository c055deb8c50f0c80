"""Dropping the indexes of a release that was rolled back, while searches go on."""

from __future__ import annotations

from functools import partial

from rag_assets.index.sql import builds as index_builds
from rag_assets.index.sql import generations
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.served import Release, pinned_generations
from rag_assets.vectors.sql.spaces import space_by_id
from rag_assets.vectors.sql.tables import VectorTable


def drop_indexes_of(
    database: Database, settings: Settings, gone: Release, *, progress: Progress
) -> tuple[str, ...]:
    """Drop, concurrently, the indexes that this release alone searched; their names.

    Those that the active release names, or one of the RAG_RELEASES_KEPT before it, stay. The
    release that is gone cannot be activated any more, unless it searched exactly.
    """
    dropped: list[str] = []
    for space in gone.spaces:
        # A session for each: the right to build on a table is held until its end.
        with database.connect(autocommit=True) as session:
            pinned = pinned_generations(session, kept=settings.rag_releases_kept)
            if space.generation is None or space.generation in pinned:
                continue
            table = VectorTable(space.corpus, space_by_id(session, space.space_id, space.role))
            waiting = partial(progress.say, f"a run is building on {table}: waiting for it")
            index_builds.lock_builds(session, table, waiting=waiting)
            doomed = [
                index
                for index in live_indexes(session, table)
                if index.generation == space.generation
            ]
            generations.drop_indexes(session, doomed)
            dropped += [index.name for index in doomed]
    return tuple(dropped)
