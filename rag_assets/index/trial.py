"""What the checks of one index share: the search under test, the queries and the ground truth."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rag_assets.errors import RagAssetsError
from rag_assets.index.cases import cases_of
from rag_assets.index.golden import embedded_texts, golden_cases
from rag_assets.index.questions import EmbeddedTexts, Questions, ask
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served
from rag_assets.settings.model import Settings

SEED = 2
"""Differs from tuning's seed: an index tuned on some queries is judged on others."""


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
    def filters(self) -> dict[str, tuple[str, ...]]:
        return cases_of(self.target.table, self.target.scopes, self.served.languages)

    @cached_property
    def texts(self) -> EmbeddedTexts | RagAssetsError:
        """Text queries, or why there are none."""
        try:
            with self.database.connect(autocommit=True) as connection:
                return embedded_texts(
                    connection, self.settings, self.target.table, self.target.scopes,
                    self.served.languages, count=self.settings.rag_index_text_sample, seed=SEED,
                )  # fmt: skip
        except RagAssetsError as error:
            return error

    @cached_property
    def questions(self) -> Questions:
        """What exact search finds, for all checks in one pass over the table."""
        scopes = self.target.scopes
        texts = self.texts if "golden_queries" in self.wanted else None
        cases = [tuple(scopes), *self.filters.values()]
        if isinstance(texts, EmbeddedTexts):
            cases += golden_cases(texts, scopes, self.served.languages).values()
        # Not the checks' connection: no setting or prepared statement leaks from one to the other.
        with self.database.connect(autocommit=True) as connection:
            return ask(
                connection, self.target.table, self.queries, cases,
                texts=texts if isinstance(texts, EmbeddedTexts) else None,
                rows=sum(scopes.values()), progress=self.progress,
            )  # fmt: skip
