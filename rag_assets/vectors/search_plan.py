"""How a search reads its table: a plan, and the rows that it may find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.code_sets import CodeSet

Kind = Literal["exact", "codes", "ivfflat", "iterative"]


@dataclass(frozen=True)
class SearchPlan:
    """How a search reads the table.

    ``exact`` compares every row that passes the filter. ``codes`` compares the codes of these rows
    and then the ``candidates`` nearest exactly. ``ivfflat`` reads ``probes`` lists of one index
    generation, without a filter; ``iterative`` does so under a filter. Both continue in batches of
    ``probes`` lists, up to ``max_probes``, until enough rows have passed.

    Over codes, ``iterative`` takes the ``fetched`` nearest of all rows: those that pass the filter
    are the nearest that pass it. Where they are fewer than ``candidates``, the query and the filter
    lie apart, as a query in another language than the filter's does, and ``codes`` answers instead,
    with ``scan_candidates``.

    :param codes: what is compared first, also by an index over codes; ``None`` where an index holds
        the vectors.
    :param wide: most rows pass the filter, so that it is cheaper to leave out the others.
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
        """The scan of the codes in the place of an index over them."""
        return SearchPlan(
            "codes", codes=self.codes, candidates=self.scan_candidates, wide=self.wide
        )

    def __str__(self) -> str:
        """For operators: ``ivfflat, 25 of 1,000 lists, 200 candidates``."""
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
    """Which rows a search may find; ``None`` for all.

    :param scopes: versions, always given, because a table may hold some that are not released; or
        languages of documents.
    :param documents: only these, by their ids.
    """

    scopes: tuple[str, ...] | None
    books: tuple[str, ...] | None = None
    chapters: tuple[int, int] | None = None
    documents: tuple[int, ...] | None = None

    @property
    def whole_scopes(self) -> bool:
        """Whether every row of its versions passes."""
        return self.books is None and self.chapters is None

    @property
    def shape(self) -> RowFilter:
        """What its statement depends on: which of them are asked for."""
        return RowFilter(
            None if self.scopes is None else (),
            None if self.books is None else (),
            None if self.chapters is None else (0, 0),
            None if self.documents is None else (),
        )


def candidates_for(candidates: int, top_k: int) -> int:
    """How many codes to compare exactly for ``top_k`` hits, where ``candidates`` do for ten.

    Measured over codes of one to four bits per dimension: the further down the neighbours, the more
    others are as near, but less so than in proportion; and five per hit where codes are long.
    """
    deeper: float = max(1.0, top_k / 10) ** 0.75
    return max(round(candidates * deeper), 5 * top_k)
