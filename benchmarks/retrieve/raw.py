"""The limit: the search's own statement and the join to the texts, prepared, and nothing else.

A thread a connection; the settings of a search are the session's, once; the vector goes in binary.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from benchmarks.index.corpus import Vectors
from benchmarks.retrieve.released import ServedCorpus
from rag_assets.retrieval.plan import Target, choose_plan
from rag_assets.store.database import Connection, Database
from rag_assets.store.vector_search import RowFilter, SearchPlan, prepare_connection, statement

TOP_K = 10
_READY_S = 120


def plan_of(corpus: ServedCorpus) -> SearchPlan:
    """How our search reads the table when nothing is filtered."""
    made = corpus.generation
    target = Target(corpus.table, corpus.scopes, made.number, made.precision, made.probes)
    return choose_plan(target, corpus.scopes, exact_rows=0)


class RawSearch:
    """Searches of one corpus."""

    def __init__(self, database: Database, corpus: ServedCorpus) -> None:
        self._database = database
        self._plan = plan_of(corpus)
        self._scopes = tuple(sorted(corpus.scopes))
        found = statement(corpus.table, self._plan, RowFilter(self._scopes), sql.Placeholder)
        self._query = sql.SQL(
            """
            SELECT n.verse_id, n.distance, v.version_code, b.language, v.book, v.chapter, v.verse,
                   v.verse_end, v.text
              FROM ({}) AS n JOIN verses v USING (verse_id) JOIN bible_versions b USING (version_code)
            """  # noqa: E501
        ).format(found)

    def run(
        self, queries: Vectors, *, connections: int, requests: int, warm_up: int, start: int
    ) -> tuple[float, list[float]]:
        """Seconds of the measured part, and milliseconds of each of its searches."""
        ready, turns = threading.Barrier(connections + 1), count(start)
        warm_turns = count(start)

        def client() -> list[float]:
            with self._database.connect(autocommit=True) as connection:
                self._prepare(connection)
                while (turn := next(warm_turns)) < start + warm_up:
                    self.search(connection, queries[turn % len(queries)])
                ready.wait(_READY_S)
                taken = []
                while (turn := next(turns)) < start + requests:
                    began = time.perf_counter()
                    self.search(connection, queries[turn % len(queries)])
                    taken.append((time.perf_counter() - began) * 1000)
                return taken

        with ThreadPoolExecutor(connections) as threads:
            clients = [threads.submit(client) for _ in range(connections)]
            ready.wait(_READY_S)
            began = time.perf_counter()
            ms = [one for done in clients for one in done.result()]
            return time.perf_counter() - began, ms

    def similarities(self, queries: Vectors) -> list[np.ndarray]:
        """What it finds."""
        with self._database.connect(autocommit=True) as connection:
            self._prepare(connection)
            return [
                1 - np.array([row[1] for row in self.search(connection, query)])
                for query in queries
            ]

    def search(self, connection: Connection, query: Vectors) -> list[tuple[object, ...]]:
        """The nearest, with their texts."""
        values = {"vector": HalfVector(query), "scopes": list(self._scopes), "limit": TOP_K}
        rows = connection.execute(self._query, values, prepare=True).fetchall()
        return sorted(rows, key=lambda row: (row[1], row[0]))

    def _prepare(self, connection: Connection) -> None:
        prepare_connection(connection)
        for name, value in (
            ("ivfflat.probes", self._plan.probes),
            ("ivfflat.max_probes", max(self._plan.probes, self._plan.max_probes)),
            ("ivfflat.iterative_scan", "relaxed_order"),
            ("enable_sort", "off"),
        ):
            connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
