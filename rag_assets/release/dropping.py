"""Drop the indexes of a release that was rolled back, without interrupting searches."""

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
    database: Database, settings: Settings, rolled_back: Release, *, progress: Progress
) -> tuple[str, ...]:
    """Drop, concurrently, the indexes that only this release searched, and return their names.

    Indexes of the active release and of the RAG_RELEASES_KEPT releases before it are kept. The
    rolled-back release can no longer be activated, unless it used exact search.
    """
    dropped: list[str] = []
    for space in rolled_back.spaces:
        # One session per space: the build lock is held until the session ends.
        with database.connect(autocommit=True) as session:
            pinned = pinned_generations(session, kept=settings.rag_releases_kept)
            if space.generation is None or space.generation in pinned:
                continue
            table = VectorTable(space.corpus, space_by_id(session, space.space_id, space.role))
            waiting = partial(progress.say, f"a run is building on {table}: waiting for it")
            index_builds.lock_builds(session, table, waiting=waiting)
            unneeded = [
                index
                for index in live_indexes(session, table)
                if index.generation == space.generation
            ]
            generations.drop_indexes(session, unneeded)
            dropped += [index.name for index in unneeded]
    return tuple(dropped)
