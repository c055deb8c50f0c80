"""What searches of the corpus take and find, in this process and over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from psycopg import sql

from benchmarks.index.bench import Report, say
from benchmarks.index.corpus import Vectors
from benchmarks.retrieve import services
from rag_assets.index.cases import TOP_K
from rag_assets.index.measuring import target_of
from rag_assets.index.questions import recall, similarity_floors
from rag_assets.index.sql import generations
from rag_assets.postgres.database import Database
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.retrieval.released import Served, served_now, served_on_trial
from rag_assets.retrieval.request import SearchRequest, confine, primary
from rag_assets.retrieval.search import search
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.retrieval.timing import measure_latency, time_search
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

CONCURRENCIES = 1, 8
_RELATIONS = 8


def served_of(
    database: Database, settings: Settings, table: VectorTable, *, released: bool
) -> Served:
    """The release; where the gate refused it, what was decided on, as the checks search it."""
    with database.connect(autocommit=True) as connection:
        if released:
            return served_now(connection, settings)
        decision = generations.last_decision(connection, table)
        wanted = decision.generation if decision else None
        ready = {made.number: made for made in generations.ready_generations(connection, table)}
        made = ready.get(wanted) if wanted else None
        scopes = servable_scopes(connection, settings, table)
        target = target_of(table, scopes, made, settings.pg_ivfflat_probes)
        return served_on_trial(connection, target)


def cases_of(served: Served) -> dict[str, SearchRequest]:
    """Without a filter, one version, one language: the largest of each."""
    scopes = served.target.scopes
    version = max(scopes, key=lambda code: scopes[code])
    language = primary(served.languages[version])
    return {
        "everything": SearchRequest(top_k=TOP_K),
        f"version {version}": SearchRequest(top_k=TOP_K, versions=(version,)),
        f"language {language}": SearchRequest(top_k=TOP_K, language=language),
    }


def in_process(
    database: Database, settings: Settings, served: Served, queries: Vectors, what: str
) -> Report:
    """Recall against exact search, and latency by concurrency, of each case."""
    cases = cases_of(served)
    table = served.target.table
    confined = {name: confine(request, served).scopes for name, request in cases.items()}
    with database.connect(autocommit=True) as connection:
        truth = similarity_floors(connection, table, queries, confined, top_k=TOP_K)
    rows = []
    for name, request in cases.items():
        say(f"searching {name}")
        with database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            found = time_search(connection, settings, served, request, queries)
        shares = [recall(o.similarities, t) for o, t in zip(found, truth[name], strict=True)]
        latencies = [
            measure_latency(database, settings, served, request, queries, concurrency=many)
            for many in CONCURRENCIES
        ]
        rows.append(
            (
                name,
                f"{sum(served.target.scopes[scope] for scope in confined[name]):,}",
                f"{np.mean(shares):.3f}",
                *(f"{one.p50_ms:.1f} / {one.p95_ms:.1f}" for one in latencies),
            )
        )
    return Report(
        f"{what}: {len(queries)} queries, P50 / P95 in ms by connections",
        ("filter", "rows", "recall@10", *(f"at {many}" for many in CONCURRENCIES)),
        rows,
    )


def hybrid(
    database: Database, settings: Settings, served: Served, texts: Sequence[str], what: str
) -> Report:
    """Latency of hybrid search by concurrency, for three sorts of queries."""
    words = " ".join(texts).split()
    sorts = {
        "fragments": list(texts),
        "1,000 words": [" ".join(words[place : place + 1_000] * 2) for place in range(40)],
        "stop words": ["the and of to in that he shall unto for his a they be is him not them"]
        * 40,
    }
    rows = []
    for name, asked in sorts.items():
        say(f"hybrid search: {name}")
        vectors = embed_queries(settings, served.target.table.space.spec, asked)
        latencies = []
        for many in CONCURRENCIES:
            work = list(zip(asked, vectors, strict=True)) * (2 if len(asked) > 100 else 5)
            latencies.append(_hybrid_latencies(database, settings, served, work, many))
        rows.append((name, *("{:.1f} / {:.1f}".format(*one) for one in latencies)))
    return Report(
        f"{what}: hybrid search, P50 / P95 in ms by connections",
        ("queries", *(f"at {many}" for many in CONCURRENCIES)),
        rows,
    )


def _hybrid_latencies(
    database: Database,
    settings: Settings,
    served: Served,
    work: Sequence[tuple[str, Vectors]],
    concurrency: int,
) -> Sequence[float]:
    def share(first: int) -> list[float]:
        found = []
        with database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            for text, vector in [work[first], *work[first::concurrency]]:
                request = SearchRequest(top_k=TOP_K, text=text, hybrid=True)
                started = time.perf_counter()
                search(connection, settings, served, request, vector)
                found.append((time.perf_counter() - started) * 1000)
        return found[1:]  # the first warms the connection

    with ThreadPoolExecutor(concurrency) as threads:
        taken = [one for part in threads.map(share, range(concurrency)) for one in part]
    return [float(one) for one in np.percentile(taken, [50, 95])]


def over_http(
    served: Served, queries: Vectors, home: Path, environment: Mapping[str, str], what: str
) -> Report:
    """The same cases through ``rag-assets serve``, vectors given."""
    rows = []
    with services.ours("ours", home, workers=1, environment=environment) as service:
        for name, request in cases_of(served).items():
            bodies = home / "bodies.jsonl"
            fields = {
                "top_k": request.top_k,
                **({"versions": request.versions} if request.versions else {}),
                **({"language": request.language} if request.language else {}),
            }
            bodies.write_text(
                "".join(json.dumps({"vector": q.tolist(), **fields}) + "\n" for q in queries)
            )
            for many in CONCURRENCIES:
                answer = service.load(
                    bodies, connections=many, requests=len(queries), warm_up=2 * many
                )
                if answer["statuses"] != {"200": len(queries)}:
                    raise SystemExit(f"{service.name} answered {answer['statuses']}")
                p50, p95 = np.percentile(list(answer["ms"]), [50, 95])  # type: ignore[call-overload]
                rate = len(queries) / float(str(answer["seconds"]))
                rows.append((name, str(many), f"{p50:.1f}", f"{p95:.1f}", f"{rate:,.0f}"))
    return Report(
        f"{what}, over HTTP", ("filter", "connections", "P50 ms", "P95 ms", "requests/s"), rows
    )


def sizes(database: Database, what: str) -> Report:
    """The largest tables with their TOAST, and the largest indexes."""
    with database.connect() as connection:
        found = connection.execute(
            sql.SQL(
                """
                SELECT c.relname, CASE c.relkind WHEN 'i' THEN 'index' ELSE 'table' END,
                       pg_table_size(c.oid)
                  FROM pg_class c
                 WHERE c.relkind IN ('r', 'i') AND c.relnamespace = 'public'::regnamespace
                 ORDER BY 3 DESC LIMIT {}
                """
            ).format(sql.Literal(_RELATIONS))
        ).fetchall()
    return Report(
        f"{what}: the largest relations",
        ("relation", "kind", "MB"),
        [(name, kind, f"{size / 1e6:,.1f}") for name, kind, size in found],
    )
