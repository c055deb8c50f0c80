"""Where a passage that can be searched stopped in one search. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rag_assets.retrieval.explain.command import command_of
from rag_assets.retrieval.explain.expectation import Passage
from rag_assets.retrieval.explain.model import Ranks, Verdict
from rag_assets.retrieval.explain.standing import Standing
from rag_assets.retrieval.fusion import TEXT_DEPTH
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.request import MAX_TEXT_DEPTH, MAX_TOP_K, SearchRequest
from rag_assets.retrieval.search import Trace
from rag_assets.vectors.search_plan import SearchPlan, candidates_for
from rag_assets.visible import count


@dataclass(frozen=True)
class Searched:
    """One search, and where the rows of one of its corpora stand.

    :param place: of the corpus among those that were searched.
    """

    request: SearchRequest
    trace: Trace
    place: int
    standing: Standing

    @property
    def plan(self) -> SearchPlan:
        return self.trace.results[self.place].plan

    def best(self, ids: tuple[int, ...]) -> int | None:
        """Of the rows that the filter passes, the one that came furthest."""
        passing = [row for row in ids if row in self.standing.exact]
        return min(
            passing,
            key=lambda row: (
                self.rank_of(row) or len(self.trace.ranked.order) + 1,
                self.standing.exact[row],
            ),
            default=None,
        )

    def rank_of(self, row: int) -> int | None:
        """The rank of the hit that represents a row, even beyond ``top_k``."""
        for rank, members in enumerate(self.trace.ranked.groups, start=1):
            if (self.place, row) in members:
                return rank
        return None

    def ranks(self, row: int) -> Ranks:
        """Where a row stands after each step."""
        order, nearest = self.trace.ranked.order, self.trace.results[self.place].nearest
        key = (self.place, row)
        return Ranks(
            exact=self.standing.exact.get(row),
            vector=nearest.index(row) + 1 if row in nearest else None,
            text=self.standing.text.get(row),
            fused=order.index(key) + 1 if key in order else None,
            grouped=self.rank_of(row),
        )

    def verdict(self, row: int, passage: Passage) -> Verdict:
        """Whether a passage's row is in the answer, or where it stopped."""
        request, ranked = self.request, self.trace.ranked
        key, rank = (self.place, row), self.rank_of(row)
        if key not in ranked.order:
            return _missed(self, row, passage)
        if rank is None:
            reason = (
                f"It scores {ranked.similarities[key]:.3f}, under min_score {request.min_score:g}."
            )
            return Verdict("under_min_score", reason, command_of(replace(request, min_score=None)))
        members = ranked.groups[rank - 1]
        if rank > request.top_k:
            deeper = replace(request, top_k=min(rank, MAX_TOP_K))
            shown = count(request.top_k, "hit")
            reason = f"It is candidate {rank}, and the search returns {shown}."
            return Verdict("beyond_top_k", reason, command_of(deeper))
        if members[0] != key and len(passage.ids) == 1:
            leader = _name(ranked.hits[rank - 1])
            reason = f"It is grouped under hit {rank}, {leader}, which ranks before it."
            return Verdict("grouped", reason, command_of(replace(request, collapse=False)))
        return Verdict("found", f"It is hit {rank}.", "")


def outside_filter(request: SearchRequest) -> Verdict:
    """The verdict on a passage that the request's own filter excludes."""
    plain = replace(
        request, versions=None, language=None, books=None, chapters=None, documents=None,
        corpus="both",
    )  # fmt: skip
    return Verdict(
        "outside_filter",
        "The filter of this search (corpus, versions, language, books, chapters or documents) "
        "excludes it.",
        command_of(plain),
    )


def _missed(searched: Searched, row: int, passage: Passage) -> Verdict:
    """The verdict on a row that is not among the candidates."""
    request, plan, standing = searched.request, searched.plan, searched.standing
    found, depth = searched.trace.results[searched.place], searched.trace.depths[searched.place]
    if row in found.nearest:
        reason = "It lacks a phrase that the query puts in quotes, or has a word that it excludes."
        plain = replace(request, hybrid=False)
        return Verdict("excluded_by_words", reason, command_of(plain))
    if row in standing.lists:
        reason = (
            f"It is in a list that the index was not probed for: {plan.probes:,} of {plan.lists:,} "
            f"lists were read, and reading {standing.lists[row]:,} finds it."
        )
        return Verdict("not_probed", reason, "rag-assets index build")
    if plan.codes is not None and standing.exact[row] <= depth:
        compared = candidates_for(plan.candidates, depth)
        by_code = standing.code.get(row)
        reason = f"It has no code in {plan.codes}."
        if by_code is not None:
            reason = (
                f"It ranks {by_code:,} by code, and the plan compares the vectors of the nearest "
                f"{compared:,}; exact search ranks it {standing.exact[row]:,}."
            )
        return Verdict("beyond_candidates", reason, "rag-assets index build")
    reason = (
        f"Exact search ranks it {standing.exact[row]:,}, and this search considers the nearest "
        f"{depth:,}."
    )
    return Verdict("beyond_candidates", reason, command_of(_other(request, standing, row, passage)))


def _other(request: SearchRequest, standing: Standing, row: int, passage: Passage) -> SearchRequest:
    """A request that finds it: with words, with more hits or, failing that, with a filter."""
    exact, words = standing.exact[row], standing.text.get(row, MAX_TEXT_DEPTH)
    if request.min_score is not None and standing.similarities[row] < request.min_score:
        request = replace(request, min_score=None)
    if not request.hybrid and words <= (TEXT_DEPTH if exact > MAX_TOP_K else request.top_k):
        return replace(request, hybrid=True)
    if request.top_k < exact <= MAX_TOP_K:
        return replace(request, top_k=exact)
    return replace(request, corpus="both", top_k=MAX_TOP_K, **passage.narrow)


def _name(hit: Hit) -> str:
    if hit.document is not None:
        return f"{hit.document.key}#{hit.document.position}"
    return f"{hit.version} {hit.reference}"
