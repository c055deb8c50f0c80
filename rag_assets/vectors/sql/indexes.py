"""The IVFFlat indexes that exist: their names, and how searches read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.code_sets import USE_COLUMNS, recorded_use
from rag_assets.vectors.sql.tables import Corpus, VectorTable

LIVE_NAMES: Mapping[Corpus, str] = {
    "bible": "idx_verse_embeddings_embedding_small_ivf",
    "documents": "idx_chunk_embeddings_embedding_small_ivf",
}
"""The name of the live index, by corpus."""

_GENERATION = re.compile(r"<> '?-(\d+)")


@dataclass(frozen=True)
class Probes:
    """The number of lists that a query reads.

    :param plain: lists for a query over everything released.
    :param filtered: first lists for a filtered query, which reads more until ``top_k`` are found.
    :param limit: maximum number of lists (``ivfflat.max_probes``).
    :param exact_rows: filters that pass at most this many rows are searched exactly, which was
        measured to be faster than the index.
    """

    plain: int
    filtered: int
    limit: int
    exact_rows: int = 0


_PROBES_COLUMNS = ("probes", "filtered_probes", "max_probes", "exact_rows")


def recorded_search(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its search columns combined into ``probes`` and ``codes``."""
    fields = {n: value for n, value in row.items() if n not in (*_PROBES_COLUMNS, *USE_COLUMNS)}
    if "probes" in row:
        plain, *others = (row[name] for name in _PROBES_COLUMNS)
        fields["probes"] = None if plain is None else Probes(plain, *others)
    return fields | {"codes": recorded_use(row)}


@dataclass(frozen=True)
class LiveIndex:
    """An IVFFlat index in the system catalogue.

    :param generation: read from its predicate; ``None`` if it is not one of ours.
    """

    name: str
    generation: int | None
    lists: int
    valid: bool
    bytes: int


def live_indexes(connection: Connection, table: VectorTable) -> tuple[LiveIndex, ...]:
    """The IVFFlat indexes of a table and its codes, including invalid ones, oldest first."""
    rows = connection.execute(
        """
        SELECT c.relname, pg_get_expr(i.indpred, i.indrelid),
               (SELECT split_part(option, '=', 2)::int FROM unnest(c.reloptions) AS option
                 WHERE option LIKE 'lists=%%'),
               i.indisvalid, pg_relation_size(c.oid)
          FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
         WHERE a.amname = 'ivfflat' AND i.indrelid IN (
                   SELECT to_regclass(%(table)s)
                   UNION ALL
                   SELECT to_regclass(code_table(corpus, code_set)) FROM code_sets
                    WHERE corpus = %(corpus)s AND space_id = %(space)s)
        """,
        {"table": table.name, "corpus": table.corpus, "space": table.space.space_id},
    ).fetchall()
    found = []
    for name, predicate, lists, valid, size in rows:
        match = _GENERATION.search(predicate or "")
        number = int(match.group(1)) if match else None
        found.append(LiveIndex(name, number, lists or 100, valid, size))
    return tuple(sorted(found, key=lambda index: index.generation or 0))


def own_name(connection: Connection, index: str) -> str | None:
    """The name that an index was built with; ``None`` if there is no index of this name."""
    row = connection.execute(
        """
        SELECT indrelid::regclass::text, pg_get_expr(indpred, indrelid)
          FROM pg_index WHERE indexrelid = to_regclass(%s)
        """,
        (index,),
    ).fetchone()
    match = _GENERATION.search(row[1] or "") if row else None
    return index_name(row[0], int(match.group(1))) if row and match else None


def index_name(relation: str, generation: int) -> str:
    """The name of a generation's index on a table of vectors or codes."""
    return f"{relation}_ivf_g{generation}"


def built_as(connection: Connection, generation: int | None) -> tuple[Precision, int] | None:
    """Precision and lists of a generation's index; ``None`` if there is no such generation."""
    row = connection.execute(
        "SELECT precision, lists FROM index_generations WHERE generation = %s", (generation,)
    ).fetchone()
    return (row[0], row[1]) if row else None
