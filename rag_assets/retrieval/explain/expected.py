"""Where expected passages stand: in the answer, or where they stopped on the way to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from rag_assets.retrieval.explain.documents import passage_of_document
from rag_assets.retrieval.explain.expectation import (
    Context,
    ExpectedDocument,
    ExpectedVerse,
    Passage,
)
from rag_assets.retrieval.explain.model import Expected, Stage
from rag_assets.retrieval.explain.searched import Searched, outside_filter
from rag_assets.retrieval.explain.standing import Standing
from rag_assets.retrieval.explain.verses import passages_of_verse
from rag_assets.retrieval.search import Trace

_STAGES: tuple[Stage, ...] = get_args(Stage)


def expected_passages(
    context: Context, wanted: Sequence[ExpectedVerse | ExpectedDocument], trace: Trace
) -> list[list[Passage]]:
    """The passages of each expectation; those of a verse in several versions together.

    :raises RequestError: one of them is neither a verse nor a document.
    """
    read = {
        scope
        for found in trace.results
        if found.side.corpus == "bible"
        for scope in found.side.scopes
    }
    return [
        passages_of_verse(context, one, read)
        if isinstance(one, ExpectedVerse)
        else [passage_of_document(context, one)]
        for one in wanted
    ]


def where_they_stand(
    context: Context,
    passages: Sequence[Sequence[Passage]],
    trace: Trace,
    standings: Sequence[Standing],
) -> tuple[Expected, ...]:
    """Where each stands; of one expectation, the passage that came furthest first.

    :param standings: of their rows, for each corpus that was searched.
    """
    return tuple(
        one
        for group in passages
        for one in sorted(
            (_where(context, passage, trace, standings) for passage in group), key=_furthest
        )
    )


def _where(
    context: Context, passage: Passage, trace: Trace, standings: Sequence[Standing]
) -> Expected:
    asked = passage.asked, passage.reference, passage.corpus
    for place, found in enumerate(trace.results):
        if found.side.corpus == passage.corpus:
            searched = Searched(context.request, trace, place, standings[place])
            row = searched.best(passage.ids)
            if row is None:
                break
            verdict = searched.verdict(row, passage)
            if verdict.stage != "found":
                verdict = passage.stopped() or verdict
            return Expected(
                *asked,
                verdict,
                searched.ranks(row),
                searched.standing.similarities.get(row),
                searched.standing.plans(row, searched.plan),
            )
    return Expected(*asked, passage.stopped() or outside_filter(context.request))


def _furthest(one: Expected) -> tuple[int, int, int, str]:
    last = 10**9
    return (
        -_STAGES.index(one.verdict.stage),
        one.ranks.grouped or last,
        one.ranks.exact or last,
        one.reference,
    )
