"""The limits: a search's own statement and the join to the texts, prepared, and nothing else.

A thread a connection; the settings of a search are the session's, once; the vector goes in binary.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
from psycopg import sql

from benchmarks.index.corpus import Vectors
from benchmarks.retrieve.released import ServedCorpus
from rag_assets.index.measuring import target_of
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.plan import Target, choose_plan, codes_of
from rag_assets.retrieval.sql.verses import VERSES
from rag_assets.vectors.search_plan import RowFilter, SearchPlan
from rag_assets.vectors.sql.nearest import prepare_connection, settings_of
from rag_assets.vectors.sql.statement import statement, values

TOP_K = 10
_READY_S = 120


def plan_of_vectors(corpus: ServedCorpus) -> SearchPlan:
    """How an index over the vectors is read when nothing is filtered."""
    made = corpus.vectors
    target = Target(corpus.table, corpus.scopes, made.number, made.precision, made.probes)
    return choose_plan(target, corpus.scopes, exact_rows=0)


def plan_served(database: Database, corpus: ServedCorpus) -> SearchPlan:
    """How our search reads the table when nothing is filtered."""
    with database.connect() as connection:
        codes = codes_of(connection, corpus.table, corpus.codes)
    target = target_of(corpus.table, corpus.scopes, corpus.generation, None, codes)
    return choose_plan(target, corpus.scopes, exact_rows=None)


class RawSearch:
    """Searches of one corpus by one plan."""

    def __init__(self, database: Database, corpus: ServedCorpus, plan: SearchPlan) -> None:
        self._database = database
        self._table = corpus.table
        self.plan = plan
        self._rows = RowFilter(tuple(sorted(corpus.scopes)))
        self._query = statement(corpus.table, plan, self._rows, sql.Placeholder, VERSES)

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
        given = values(self._table, self.plan, query, self._rows, TOP_K)
        rows = connection.execute(self._query, given, prepare=True).fetchall()
        return sorted(rows, key=lambda row: (row[1], row[0]))

    def _prepare(self, connection: Connection) -> None:
        prepare_connection(connection)
        set_for_session(connection, self.plan)


def set_for_session(connection: Connection, plan: SearchPlan) -> None:
    """What a search sets for its transaction, once for all searches of a connection."""
    for name, value in settings_of(plan).items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
