"""What each contender's index costs alone: a bare statement over its own table, in PostgreSQL only.

Each has its own k-means, so that as many lists of one hold more rows than of another. What a
contender adds to its index is what it is to be judged by.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from benchmarks.index.corpus import Vectors
from rag_assets.postgres.database import Database
from rag_assets.vectors.sql.nearest import prepare_connection

_ROUNDS = 4


def index_ms(
    database: Database,
    tables: Mapping[str, tuple[sql.Composable, sql.Composable]],
    queries: Vectors,
    *,
    probes: int,
) -> dict[str, float]:
    """Median milliseconds of a search by name, one connection, in turn.

    :param tables: by name, what to select the ten nearest from, and its column of ids; a
        predicate may stand behind the table.
    """
    taken: dict[str, list[float]] = {name: [] for name in tables}
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for name, value in (("ivfflat.probes", str(probes)), ("enable_sort", "off")):
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        for share in np.array_split(queries, _ROUNDS):
            for name, (table, ids) in tables.items():
                statement = sql.SQL("SELECT {} FROM {} ORDER BY embedding <=> %s LIMIT 10").format(
                    ids, table
                )
                for query in share:
                    vector = HalfVector(query)
                    began = time.perf_counter()
                    found: Sequence[object] = connection.execute(
                        statement, (vector,), prepare=True
                    ).fetchall()
                    taken[name].append((time.perf_counter() - began) * 1000)
                    assert len(found) == 10, name
    return {name: float(np.median(ms)) for name, ms in taken.items()}
