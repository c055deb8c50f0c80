"""Ask text queries as users do, by the plan under test, and compare with exact search."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from rag_assets.index.cases import TOP_K
from rag_assets.index.query_classes import GOLDEN_CLASSES, ClassResult, QueryClass
from rag_assets.index.questions import Questions, recall
from rag_assets.index.sql.passage_texts import places_of
from rag_assets.index.text_queries import EmbeddedTexts, TextQuery
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import Corpus


def class_results(
    connection: Connection,
    settings: Settings,
    served: Served,
    questions: Questions,
    kinds: Collection[QueryClass],
) -> dict[QueryClass, ClassResult]:
    """Search with each query of these classes that exact search answers, as the API would.

    :param connection: autocommits and is prepared for vectors.
    :param served: the index under test.
    :returns: the classes that have queries.
    """
    texts = questions.texts
    if texts is None:
        return {}
    places: dict[QueryClass, list[int]] = {}
    for place, query in enumerate(texts.queries):
        if query.kind in kinds:
            places.setdefault(query.kind, []).append(place)
    asked = [place for of_kind in places.values() for place in of_kind]
    shares = _shares_found(connection, settings, served, questions, texts, asked)
    return {
        kind: _result(questions, texts, kind, places[kind], shares)
        for kind in QueryClass
        if kind in places
    }


def _result(
    questions: Questions,
    texts: EmbeddedTexts,
    kind: QueryClass,
    places: list[int],
    shares: Mapping[int, tuple[bool, float]],
) -> ClassResult:
    answered = [place for place in places if questions.answered[place]]
    lost = [texts.queries[place] for place in answered if not shares[place][0]]
    missed = [
        texts.queries[place]
        for place in places
        if kind in GOLDEN_CLASSES and not questions.answered[place]
    ]
    return ClassResult(
        asked=len(places),
        answered=len(answered),
        recall=float(np.mean([shares[place][1] for place in answered])) if answered else 1.0,
        lost=tuple(map(str, lost)),
        missed=tuple(map(str, missed)),
        explain={str(query): query.explain for query in (*lost, *missed) if query.explain},
    )


def _shares_found(
    connection: Connection,
    settings: Settings,
    served: Served,
    questions: Questions,
    texts: EmbeddedTexts,
    places: list[int],
) -> dict[int, tuple[bool, float]]:
    """For each of these queries that exact search answers, whether the plan does, and its recall.

    Recall is that of the expected passage or, if there is none, of the ten nearest rows.
    """
    corpus: Corpus = "bible" if served.documents is None else "documents"
    table = (served.documents.target if served.documents else served.target).table
    answered = [place for place in places if questions.answered[place]]
    wanted = {row for place in answered for row in texts.queries[place].wanted}
    names = places_of(connection, table, wanted)
    found = {}
    for place in answered:
        query = texts.queries[place]
        request = SearchRequest(
            top_k=TOP_K, text=query.text, language=query.language, corpus=corpus,
            versions=_versions(query),
        )  # fmt: skip
        hits = search(connection, settings, served, request, texts.vectors[place]).hits
        if query.wanted:
            here = {names[row] for row in query.wanted if row in names}
            finds = any(_place(hit) in here for hit in hits)
            found[place] = finds, float(finds)
        else:
            scores = {rank: hit.score for rank, hit in enumerate(hits)}
            share = recall(list(scores.values()), questions.text_nearest[place])
            found[place] = questions.finds(place, scores), share
    return found


def _versions(query: TextQuery) -> tuple[str, ...] | None:
    """The versions that a request names: none if it names a language instead."""
    if query.scopes is None or query.language is not None:
        return None
    return tuple(sorted(query.scopes))


def _place(hit: Hit) -> tuple[str, str]:
    """Where a hit is, as :func:`places_of` names it; a bridge by its first verse."""
    if hit.document is not None:
        return hit.document.key, str(hit.document.position)
    return hit.version, hit.usfm.partition("-")[0]
