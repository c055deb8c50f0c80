"""What the checks of one index share: the search under test, the queries and the ground truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served
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
class Trial:
    """What the checks of one table share.

    :param served: the target, presented as if it were released.
    :param wanted: names of the checks to run.
    """

    database: Database
    settings: Settings
    generation: Generation | None
    target: Target
    served: Served
    queries: NDArray[np.float32]
    wanted: Collection[str]
    progress: Progress

    @property
    def exact_rows(self) -> int | None:
        return self.settings.rag_search_exact_rows

    @cached_property
    def alone(self) -> Alone:
        """The mixtures' searches, shared by the checks of recall and latency."""
        return Alone(self.database, self.settings, self.served, self.queries)

    @cached_property
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
    def questions(self) -> Questions:
        """What exact search finds, for all checks in one pass over the table."""
        scopes, texts = self.target.scopes, self.texts
        # Not the checks' connection: no setting or prepared statement leaks from one to the other.
        with self.database.connect(autocommit=True) as connection:
            return ask(
                connection, self.target.table, self.queries,
                [tuple(scopes), *self.filters.values()], everything=scopes,
                texts=texts if isinstance(texts, EmbeddedTexts) else None,
                rows=sum(scopes.values()), progress=self.progress,
            )  # fmt: skip

    def results(self, kinds: Collection[QueryClass]) -> dict[QueryClass, ClassResult]:
        """How the index answers the text queries of these classes."""
        with self.database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            return class_results(connection, self.settings, self.served, self.questions, kinds)
