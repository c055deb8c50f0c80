"""Drop what nothing serves any more, without interrupting searches: indexes, and whole spaces."""

from __future__ import annotations

from functools import partial

from rag_assets.errors import ConfigurationError
from rag_assets.index.sql import builds as index_builds
from rag_assets.index.sql import generations
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql import code_sets
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.served import Release, active_release, pinned_generations
from rag_assets.vectors.sql.spaces import (
    ROLES,
    Space,
    find_space,
    forget_vectors,
    mark_dropped,
    space_by_id,
)
from rag_assets.vectors.sql.tables import CORPORA, VectorTable


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


def drop_space(
    database: Database, settings: Settings, space_id: int, *, progress: Progress
) -> Space:
    """Delete a space's indexes, codes and vectors. A release that searched it cannot serve again.

    One that was interrupted is ended by doing it again.

    :raises ConfigurationError: there is no such space, it is served, or the settings name it.
    """
    with database.connect(autocommit=True) as session:
        locks.lock_session(session, locks.CHANGING_RELEASES)  # none is activated meanwhile
        space = unneeded_space(session, settings, space_id)
        mark_dropped(session, space)
        for corpus in CORPORA:
            table = VectorTable(corpus, space)
            waiting = partial(progress.say, f"a run is building on {table}: waiting for it")
            index_builds.lock_builds(session, table, waiting=waiting)
            generations.drop_indexes(session, live_indexes(session, table))
            code_sets.drop_unneeded(session, table, ())
        forget_vectors(session, space)
    return space


def unneeded_space(session: Connection, settings: Settings, space_id: int) -> Space:
    """The space, if it may be dropped.

    :raises ConfigurationError: there is no such space, it is served, or the settings name it.
    """
    try:
        space = space_by_id(session, space_id, "small")
    except LookupError as error:
        raise ConfigurationError(f"{error}: `rag-assets db status` lists them") from None
    release = active_release(session)
    if release and space_id in {one.space_id for one in release.spaces}:
        raise ConfigurationError(
            f"space {space_id} ({space.spec}) serves release {release.release_id}: change the "
            "model first (docs/change-model.md)"
        )
    named = (find_space(session, settings, role) for role in ROLES)
    if space_id in {one.space_id for one in named if one is not None}:
        raise ConfigurationError(
            f"space {space_id} ({space.spec}) is the one that the settings name: the next run "
            "would fill it again"
        )
    return space
