"""Search plans and row filters: how a search reads its table, and which rows it may find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.code_sets import CodeSet

Kind = Literal["exact", "codes", "ivfflat", "iterative"]


@dataclass(frozen=True)
class SearchPlan:
    """How a search reads the table.

    ``exact`` compares every row that passes the filter. ``codes`` compares the codes of these rows,
    then the vectors of the ``candidates`` nearest. ``ivfflat`` reads ``probes`` lists of one index
    generation, without a filter; ``iterative`` does so under a filter. Both continue in batches of
    ``probes`` lists, up to ``max_probes``, until enough rows have passed.

    Over codes, ``iterative`` fetches the ``fetched`` nearest of all rows and then filters them. If
    fewer than ``candidates`` pass, the filter excludes the query's neighbourhood (for example, the
    query is in another language), and ``codes`` answers instead, with ``scan_candidates``.

    :param codes: the codes that are compared first, also by an index over codes; ``None`` if an
        index holds the vectors.
    :param wide: most rows pass the filter, so it is cheaper to list the excluded scopes.
    """

    kind: Kind
    generation: int | None = None
    precision: Precision = "halfvec"
    probes: int = 0
    max_probes: int = 0
    codes: CodeSet | None = None
    candidates: int = 0
    wide: bool = False
    lists: int = 0
    fetched: int = 0
    scan_candidates: int = 0

    @property
    def scan(self) -> SearchPlan:
        """The scan of the codes to fall back to."""
        return SearchPlan(
            "codes", codes=self.codes, candidates=self.scan_candidates, wide=self.wide
        )

    def __str__(self) -> str:
        """Format for operators: ``ivfflat, 25 of 1,000 lists, 200 candidates``."""
        parts: list[str] = [self.kind]
        if self.probes:
            parts.append(
                f"{self.probes:,}" + (f" of {self.lists:,}" if self.lists else "") + " lists"
            )
        if self.codes is not None:
            parts.append(f"{self.candidates:,} candidates")
        return ", ".join(parts)


EXACT = SearchPlan("exact")


@dataclass(frozen=True)
class RowFilter:
    """The rows that a search may find; ``None`` for all.

    :param scopes: versions, which must be given because a table may hold unreleased ones; or
        languages of documents.
    :param documents: only these documents, by id.
    :param corpora: only documents of these corpora.
    """

    scopes: tuple[str, ...] | None
    books: tuple[str, ...] | None = None
    chapters: tuple[int, int] | None = None
    documents: tuple[int, ...] | None = None
    corpora: tuple[str, ...] | None = None

    @property
    def whole_scopes(self) -> bool:
        """Whether every row of its versions passes."""
        return self.books is None and self.chapters is None

    @property
    def shape(self) -> RowFilter:
        """The part that the statement's text depends on: which filters are set."""
        return RowFilter(
            None if self.scopes is None else (),
            None if self.books is None else (),
            None if self.chapters is None else (0, 0),
            None if self.documents is None else (),
            None if self.corpora is None else (),
        )


def candidates_for(candidates: int, top_k: int) -> int:
    """How many vectors to compare for ``top_k`` hits if ``candidates`` are enough for ten.

    Measured over codes of one to four bits per dimension: later hits need more candidates, but less
    than in proportion; with long codes, at least five per hit.
    """
    deeper: float = max(1.0, top_k / 10) ** 0.75
    return max(round(candidates * deeper), 5 * top_k)
