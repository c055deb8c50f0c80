"""What the checks of one index share: the search under test, the queries and the ground truth.

Exact search and the search under test read one snapshot. Otherwise a document published between
the two would count as a query that the index loses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rag_assets.errors import RagAssetsError
from rag_assets.index.asking import class_results
from rag_assets.index.cases import cases_of
from rag_assets.index.golden import golden_queries
from rag_assets.index.measuring import Alone
from rag_assets.index.query_classes import ClassResult, QueryClass
from rag_assets.index.questions import Questions, ask
from rag_assets.index.sql.generations import Generation
from rag_assets.index.text_queries import (
    JUDGING,
    EmbeddedTexts,
    Sampled,
    TextQuery,
    embedded,
    sampled_queries,
)
from rag_assets.postgres.database import Database
from rag_assets.postgres.snapshot import Snapshot, taken_snapshot
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served, served_on_trial
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.nearest import prepare_connection

SEED = 2
"""Differs from tuning's seed: an index tuned on some queries is judged on others."""


@dataclass(frozen=True)
class Outcome:
    """What one check found: failures, figures, and a summary in one line."""

    failures: tuple[str, ...]
    measured: Mapping[str, object]
    summary: str = ""


@dataclass
class Measured:
    """Searches and the answers of exact search, read in one snapshot.

    :param target: what is searched, with the rows of the snapshot; ``served`` presents it.
    """

    snapshot: Snapshot
    settings: Settings
    target: Target
    served: Served
    texts: EmbeddedTexts | RagAssetsError
    queries: NDArray[np.float32]
    progress: Progress

    @cached_property
    def alone(self) -> Alone:
        """The mixtures' searches, shared by the checks of recall and latency."""
        return Alone(self.snapshot.connect, self.settings, self.served, self.queries)

    @cached_property
    def filters(self) -> dict[str, tuple[str, ...]]:
        return cases_of(self.target.table, self.target.scopes, self.served.languages)

    @cached_property
    def questions(self) -> Questions:
        """What exact search finds, for all checks in one pass over the table."""
        scopes, texts = self.target.scopes, self.texts
        # Not the checks' connection: no setting or prepared statement leaks from one to the other.
        with self.snapshot.connect() as connection:
            return ask(
                connection, self.target.table, self.queries,
                [tuple(scopes), *self.filters.values()], everything=scopes,
                texts=texts if isinstance(texts, EmbeddedTexts) else None,
                rows=sum(scopes.values()), progress=self.progress,
            )  # fmt: skip

    def results(self, kinds: Collection[QueryClass]) -> dict[QueryClass, ClassResult]:
        """How the index answers the text queries of these classes."""
        with self.snapshot.connect() as connection:
            prepare_connection(connection)
            return class_results(connection, self.settings, self.served, self.questions, kinds)


@dataclass
class Trial:
    """What the checks of one table share.

    :param target: the search that was decided on; ``served`` presents it as if it were released.
    :param wanted: names of the checks to measure.
    :param stack: closed after the checks.
    """

    database: Database
    settings: Settings
    generation: Generation | None
    target: Target
    served: Served
    queries: NDArray[np.float32]
    wanted: Collection[str]
    progress: Progress
    stack: ExitStack

    @property
    def exact_rows(self) -> int | None:
        return self.settings.rag_search_exact_rows

    @property
    def filters(self) -> dict[str, tuple[str, ...]]:
        return cases_of(self.target.table, self.target.scopes, self.served.languages)

    @cached_property
    def golden(self) -> tuple[TextQuery, ...] | RagAssetsError:
        """The golden queries, or why they cannot be read."""
        try:
            with self.database.connect(autocommit=True) as connection:
                return golden_queries(
                    connection, self.settings, self.target.table, self.target.scopes,
                    self.served.languages,
                )  # fmt: skip
        except RagAssetsError as error:
            return error

    @cached_property
    def texts(self) -> EmbeddedTexts | RagAssetsError:
        """The text queries that the wanted checks ask, or why they cannot be embedded."""
        golden = self.golden if "golden_queries" in self.wanted else ()
        try:
            with self.database.connect(autocommit=True) as connection:
                sampled = Sampled()
                if "recall_at_10" in self.wanted:
                    sampled = sampled_queries(
                        connection, self.settings, self.target.table, self.target.scopes,
                        half=JUDGING,
                    )  # fmt: skip
                return embedded(
                    connection, self.settings, self.target.table,
                    () if isinstance(golden, RagAssetsError) else golden, sampled, self.progress,
                )  # fmt: skip
        except RagAssetsError as error:
            return error

    @cached_property
    def measured(self) -> Measured:
        """What the checks of recall and latency measure."""
        texts = self.texts  # first: embedding may take minutes, and vacuum waits for a snapshot
        snapshot = self.stack.enter_context(taken_snapshot(self.database))
        with snapshot.connect() as connection:
            scopes = servable_scopes(connection, self.settings, self.target.table)
            target = replace(self.target, scopes=scopes or self.target.scopes)
            served = served_on_trial(connection, target)
        return Measured(
            snapshot, self.settings, target, served, texts, self.queries, self.progress
        )  # fmt: skip
