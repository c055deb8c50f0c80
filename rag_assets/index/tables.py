"""Which tables have an index to keep: the space that the settings name, and the one released."""

from __future__ import annotations

from rag_assets.errors import ConfigurationError
from rag_assets.settings import Settings
from rag_assets.store.database import Connection
from rag_assets.store.releases import active_release
from rag_assets.store.spaces import find_space, space_by_id, space_spec
from rag_assets.store.vector_tables import VectorTable, bible_table


def candidate_table(connection: Connection, settings: Settings) -> VectorTable:
    """The table that the next release would search.

    :raises ConfigurationError: nothing was ever embedded with the settings' model.
    """
    space = find_space(connection, settings, "small")
    if space is None:
        raise ConfigurationError(
            f"nothing is embedded yet in {space_spec(settings, 'small')}: materialize "
            "verse_embeddings first"
        )
    return bible_table(space)


def indexed_tables(connection: Connection, settings: Settings) -> tuple[VectorTable, ...]:
    """The candidate's table and, while a model is being changed, the one that serves meanwhile.

    :raises ConfigurationError: as :func:`candidate_table`.
    """
    candidate = candidate_table(connection, settings)
    release = active_release(connection)
    small = release.space("bible", "small") if release else None
    if small is None or small.space_id == candidate.space.space_id:
        return (candidate,)
    return candidate, bible_table(space_by_id(connection, small.space_id, "small"))
