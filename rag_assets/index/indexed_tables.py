"""The tables whose indexes are maintained: those of the settings' space and the released one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.served import active_release
from rag_assets.vectors.sql.spaces import find_space, space_by_id, space_spec
from rag_assets.vectors.sql.tables import (
    CORPORA,
    Corpus,
    VectorTable,
    bible_table,
    has_rows,
)


@dataclass(frozen=True)
class AssetNames:
    """The names of a corpus' assets, for messages that say what to do."""

    vectors: str
    index: str


ASSETS: Mapping[Corpus, AssetNames] = {
    "bible": AssetNames("verse_embeddings", "verse_embeddings_index"),
    "documents": AssetNames("document_embeddings", "chunk_embeddings_index"),
}


def candidate_table(connection: Connection, settings: Settings) -> VectorTable:
    """The Bible's table that the next release would search.

    :raises ConfigurationError: nothing has been embedded with the settings' model.
    """
    space = find_space(connection, settings, "small")
    if space is None:
        raise ConfigurationError(
            f"nothing is embedded yet in {space_spec(settings, 'small')}: materialize "
            "verse_embeddings first"
        )
    return bible_table(space)


def indexed_tables(
    connection: Connection, settings: Settings, corpus: Corpus | None = None
) -> tuple[VectorTable, ...]:
    """The candidate's table and, during a change of model, the one that is being served.

    The documents' tables are included if they have rows or are being served.

    :param corpus: only this one; for documents, the candidate's table is then always included.
    :raises ConfigurationError: as for :func:`candidate_table`, if the Bible is included.
    """
    if corpus is None:
        return tuple(
            table
            for one in CORPORA
            for table in indexed_tables(connection, settings, one)
            if one == "bible" or _in_use(connection, table)
        )
    if corpus == "bible":
        candidate = candidate_table(connection, settings)
    else:
        space = find_space(connection, settings, "small")
        if space is None:
            return ()
        candidate = VectorTable(corpus, space)
    release = active_release(connection)
    small = release.space(corpus, "small") if release else None
    if small is None or small.space_id == candidate.space.space_id:
        return (candidate,)
    return candidate, VectorTable(corpus, space_by_id(connection, small.space_id, "small"))


def _in_use(connection: Connection, table: VectorTable) -> bool:
    release = active_release(connection)
    small = release.space(table.corpus, "small") if release else None
    serves = small is not None and small.space_id == table.space.space_id
    return serves or has_rows(connection, table)
