"""How well the next release would answer the operator's own queries: the golden queries.

The index checks ask whether the index finds what exact search finds. This asks whether what is
found is what people look for, by vectors alone and by hybrid search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rag_assets.bible.sql.verses import verse_ids
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.errors import RequestError
from rag_assets.index.on_trial import candidates, on_trial
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress
from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.evaluation import Evaluated, evaluated, evaluation_summary, name_of
from rag_assets.retrieval.explain.command import command_of
from rag_assets.retrieval.golden_file import GoldenQuery, read_golden_queries
from rag_assets.retrieval.query_vectors import embed_queries_cached
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import MAX_TOP_K, SearchRequest
from rag_assets.retrieval.search import search
from rag_assets.retrieval.sides import sides_of
from rag_assets.retrieval.sql.chunks import documents_by_key
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.check_results import record_check
from rag_assets.vectors.sql.nearest import prepare_connection

QUALITY_CHECK = "retrieval_quality"
WAYS: Mapping[str, bool] = {"vectors": False, "hybrid": True}
"""The searches that are measured, and whether they are hybrid."""
FIGURES = "hit_at_1", "hit_at_10", "mrr_at_10", "ndcg_at_10", "recall_at_100"


@dataclass(frozen=True)
class Quality:
    """The figures of each search.

    :param asked: queries of which something expected is in the corpus; ``left_out`` are the others.
    :param figures: by search and measure, such as ``hybrid_ndcg_at_10``; none without queries.
    :param missed: by search, the queries that no hit answers.
    :param wrong_first: by search, the queries whose first hit is one that must not be first.
    :param explain: the commands that explain the searches of the missed queries.
    """

    asked: int
    left_out: int
    figures: Mapping[str, float]
    missed: Mapping[str, tuple[str, ...]]
    wrong_first: Mapping[str, tuple[str, ...]]
    explain: tuple[str, ...] = ()


def measure_quality(
    database: Database, settings: Settings, *, run_id: str, progress: Progress
) -> Quality | None:
    """Ask the golden queries of the next release, and record the figures for the gate.

    :returns: ``None`` if neither RAG_GOLDEN_QUERIES nor a corpus names a file, or nothing is
        decided on.
    :raises RagAssetsError: the file is wrong, or the queries cannot be embedded.
    """
    queries: tuple[GoldenQuery, ...] = ()
    if settings.rag_golden_queries is not None:
        queries = read_golden_queries(settings.rag_golden_queries)
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        queries += _of_corpora(connection)
        if not queries:
            return None
        found = candidates(connection, settings)
        if not found:
            return None
        progress.say(f"asking {len(queries)} golden queries")
        with on_trial(connection, settings, found) as served:
            quality = _measured(connection, settings, served, queries)
        first = found[0]
        record_check(
            connection,
            first.table,
            subject=first.subject,
            check=QUALITY_CHECK,
            reasons=(),
            measured={"asked": quality.asked, "left_out": quality.left_out, **quality.figures},
            revision=first.revision,
            run_id=run_id,
        )
    return quality


def _of_corpora(connection: Connection) -> tuple[GoldenQuery, ...]:
    """The golden queries of each document corpus that has some, confined to it."""
    return tuple(
        replace(query, corpus=corpus)
        for corpus, options in document_corpora(connection).items()
        if options.golden_file is not None
        for query in read_golden_queries(Path(options.golden_file))
    )


def _measured(
    connection: Connection, settings: Settings, served: Served, queries: Sequence[GoldenQuery]
) -> Quality:
    asked = [query for query in queries if _can_be_asked(connection, served, query)]
    results: dict[str, list[Evaluated]] = {name: [] for name in WAYS}
    explain: list[str] = []
    left_out = len(queries) - len(asked)
    base = SearchRequest(top_k=MAX_TOP_K)
    for name, hybrid in WAYS.items():
        requests = [query.asked(replace(base, hybrid=hybrid)) for query in asked]
        vectors = embed_queries_cached(
            connection, settings, served.target.table.space,
            [request.embedded_text for request in requests],
        )  # fmt: skip
        for query, request, vector in zip(asked, requests, vectors, strict=True):
            hits = search(connection, settings, served, request, vector).hits
            found = evaluated(query.text, query.expected, [name_of(hit) for hit in hits], 0.0,
                              not_first=query.not_first)  # fmt: skip
            results[name].append(found)
            if found.missed:
                explain.append(command_of(request, "explain", expect=query.expected))
    return Quality(
        asked=len(asked),
        left_out=left_out,
        figures=dict(_figures(results)),
        missed={
            name: tuple(one.query for one in found if one.missed) for name, found in results.items()
        },
        wrong_first={
            name: tuple(one.query for one in found if one.wrong_first)
            for name, found in results.items()
        },
        explain=tuple(explain),
    )


def _figures(results: Mapping[str, Sequence[Evaluated]]) -> Iterator[tuple[str, float]]:
    for name, found in results.items():
        summed = evaluation_summary(found, top_k=MAX_TOP_K)
        for figure in FIGURES:
            if (value := getattr(summed, figure)) is not None:
                yield f"{name}_{figure}", round(value, 4)
        yield f"{name}_wrong_first", summed.wrong_first


def _can_be_asked(connection: Connection, served: Served, query: GoldenQuery) -> bool:
    """Whether something that the query expects is in the corpus, in its language."""
    request = query.asked(SearchRequest())
    try:
        sides_of(connection, request, served)
    except RequestError as error:
        if error.kind in ("unknown-language", "no-verses", "unknown-corpus", "no-documents"):
            return False
        raise
    if not query.expected:
        return True
    members = [
        code
        for code in served.target.scopes
        if query.language is None or primary(served.languages[code]) == primary(query.language)
    ]
    return any(verse_ids(connection, members, *verse) for verse in query.verses) or bool(
        documents_by_key(connection, query.documents)
    )
