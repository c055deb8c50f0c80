"""The indexes that are really there: their names, and how the one in force is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.code_sets import USE_COLUMNS, recorded_use
from rag_assets.vectors.sql.tables import Corpus, VectorTable

LIVING_NAMES: Mapping[Corpus, str] = {
    "bible": "idx_verse_embeddings_embedding_small_ivf",
    "documents": "idx_chunk_embeddings_embedding_small_ivf",
}
"""The name that the index in force carries, by corpus."""

_GENERATION = re.compile(r"<> '?-(\d+)")


@dataclass(frozen=True)
class Probes:
    """How many lists a query reads.

    :param plain: of a query over everything that is released.
    :param filtered: at first, of a query with a filter; reading goes on until ``top_k`` are found.
    :param limit: at most (``ivfflat.max_probes``).
    :param exact_rows: filters that let at most so many rows through are searched exactly, because
        that was measured to be faster than the index.
    """

    plain: int
    filtered: int
    limit: int
    exact_rows: int = 0


_PROBES_COLUMNS = ("probes", "filtered_probes", "max_probes", "exact_rows")


def recorded_search(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose columns on how to search are put together as ``probes`` and ``codes``."""
    fields = {n: value for n, value in row.items() if n not in (*_PROBES_COLUMNS, *USE_COLUMNS)}
    if "probes" in row:
        plain, *others = (row[name] for name in _PROBES_COLUMNS)
        fields["probes"] = None if plain is None else Probes(plain, *others)
    return fields | {"codes": recorded_use(row)}


@dataclass(frozen=True)
class LiveIndex:
    """An IVFFlat index as the catalogue has it.

    :param generation: read from its predicate; ``None`` when it is not one of ours.
    """

    name: str
    generation: int | None
    lists: int
    valid: bool
    bytes: int


def live_indexes(connection: Connection, table: VectorTable) -> tuple[LiveIndex, ...]:
    """The IVFFlat indexes of a table and its codes, invalid ones too; the oldest first."""
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
    """What an index was called when it was built; ``None`` where there is none of this name."""
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
    """Precision and lists of a generation's index; ``None`` for none."""
    row = connection.execute(
        "SELECT precision, lists FROM index_generations WHERE generation = %s", (generation,)
    ).fetchone()
    return (row[0], row[1]) if row else None
