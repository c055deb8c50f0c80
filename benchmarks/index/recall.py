"""What common settings find, how fast, and what ours finds.

Every setting's index is on the table at once; held-out queries that nobody tuned with are sent to
each in turn, a share of them a round, after a few that are not counted. Recall@10 is against all
rows (see :mod:`rag_assets.index.questions`). All go by the one statement that our searches send,
which makes the planner take the index: the figures of the others are pgvector's, not the planner's.
Ours goes by :func:`rag_assets.retrieval.plan.choose_plan`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from benchmarks.index.bench import RUN_ID, Bench, Report, say
from benchmarks.index.corpus import FIRST, SECOND
from rag_assets.bible.sql.verses import version_languages
from rag_assets.index.build_size import kilobytes
from rag_assets.index.cases import EVERYTHING, TOP_K, filter_cases
from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.index.measuring import target_of
from rag_assets.index.policy import recommended_lists
from rag_assets.index.questions import ask, held_out_queries, recall, similarity_floors
from rag_assets.index.sql import builds as index_builds
from rag_assets.index.sql.generations import Generation
from rag_assets.index.tune import tune
from rag_assets.progress import LogLines
from rag_assets.retrieval.plan import choose_plan
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.retrieval.timing import TimedSearch, time_plan
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

_OTHERS_FROM = 900_000  # numbers for indexes that are no generation of ours
_MADE_SEED = 1  # of maintain()'s own made queries


@dataclass(frozen=True)
class Setting:
    """A way to search.

    :param plan: by the versions that a search is confined to.
    """

    name: str
    lists: str
    probes: str
    plan: Callable[[Sequence[str]], SearchPlan]
    found: dict[str, list[TimedSearch]] = field(default_factory=dict)


def run(bench: Bench) -> Iterator[Report]:
    """One table a size: a row a setting, a column a filter."""
    for size in bench.sizes:
        yield _compare(bench, size)


def _compare(bench: Bench, size: int) -> Report:
    table = bench.table(size)
    with bench.database.connect(autocommit=True) as connection:
        scopes = servable_scopes(connection, bench.settings, table)
    portuguese = tuple(scope for scope in scopes if scope[:2] == SECOND[:2])
    cases = {EVERYTHING: tuple(scopes), FIRST: (FIRST,), SECOND: (SECOND,)}
    if len(portuguese) > 1:
        cases[f"{len(portuguese)} {SECOND[:2]} versions"] = portuguese
    ours = _ours(bench, table, scopes)  # first: it would drop the others' indexes
    settings = [*_others(bench, table, size), *ours, Setting("exact", "", "", lambda _: EXACT)]
    queries = bench.corpus.queries(bench.tuning, bench.tuning + bench.judging)
    with bench.database.connect(autocommit=True) as connection:
        truth = similarity_floors(connection, table, queries, cases, top_k=TOP_K)
    with bench.database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for turn, share in enumerate(np.array_split(queries, bench.rounds)):
            say(f"{size:,} rows: round {turn + 1} of {bench.rounds}")
            for setting in settings:
                for case, confined in cases.items():
                    plan = setting.plan(confined)
                    # The setting before it has had the cache to itself.
                    time_plan(connection, table, plan, share[:5], top_k=TOP_K, scopes=confined)
                    setting.found.setdefault(case, []).extend(
                        time_plan(connection, table, plan, share, top_k=TOP_K, scopes=confined)
                    )
    bench.drop_indexes(table)
    rows = [
        (
            setting.name,
            setting.lists,
            setting.probes,
            *(_cell(setting.found[case], truth[case]) for case in cases),
        )
        for setting in settings
    ]
    return Report(
        f"What settings find: {bench.corpus.what}, {size:,} rows, {len(queries)} queries; recall@10"
        " · hits · P50 / P95 in ms, without a filter and under some",
        ("setting", "lists", "probes", *cases),
        rows,
    )


def _cell(found: Sequence[TimedSearch], truth: np.ndarray) -> str:
    recalls = [recall(one.similarities, true) for one, true in zip(found, truth, strict=True)]
    hits = np.mean([len(one.similarities) for one in found])
    p50, p95 = np.percentile([one.latency_ms for one in found], [50, 95])
    return f"{np.mean(recalls):.3f} · {hits:.1f} · {p50:.1f} / {p95:.1f}"


def _others(bench: Bench, table: VectorTable, size: int) -> Iterator[Setting]:
    """pgvector's defaults, its rule of thumb, the same with iterative scans, many lists."""
    thumb = max(1, round(size / 1000))
    root = max(1, round(math.sqrt(thumb)))
    many = 64 if bench.smoke else 1000
    numbers = {
        lists: _OTHERS_FROM + place for place, lists in enumerate((100, thumb, many), start=1)
    }
    with bench.database.connect(autocommit=True) as session:
        index_builds.prepare_session(
            session,
            memory_kb=kilobytes(bench.settings.rag_index_maintenance_work_mem),
            workers=bench.settings.rag_index_parallel_workers,
        )
        for lists, number in numbers.items():
            say(f"building {lists} lists over {size:,} rows")
            index_builds.create_index(session, table, number, precision="halfvec", lists=lists)
        index_builds.analyze(session, table)
    for name, lists, probes, most in (
        ("pgvector's defaults", 100, 1, 1),
        ("rule of thumb", thumb, root, root),
        ("rule of thumb, iterative scan", thumb, root, thumb),
        (f"{many:,} lists, 10 probes", many, 10, 10),
    ):
        plan = SearchPlan("ivfflat", numbers[lists], "halfvec", probes, most)
        yield Setting(name, str(lists), str(probes), partial(_always, plan))


def _always(plan: SearchPlan, _: Sequence[str]) -> SearchPlan:
    return plan


def _ours(bench: Bench, table: VectorTable, scopes: dict[str, int]) -> list[Setting]:
    """The profile's lists, tuned with real held-out queries and again with made ones; and the best
    of some numbers of lists."""
    thumb = recommended_lists(sum(scopes.values()), bench.settings.rag_index_profile)
    made = _made(bench, table, IndexRequest(force=True))
    bench.serve(table, made)  # or the next would drop it
    best = _made(bench, table, IndexRequest(lists_candidates=(thumb, 2 * thumb, 4 * thumb)))
    bench.serve_nothing()
    with bench.database.connect(autocommit=True) as connection:
        queries = held_out_queries(
            connection,
            table,
            min(bench.settings.rag_index_query_sample, bench.tuning),
            seed=_MADE_SEED,
        )
        cases = filter_cases(scopes, version_languages(connection))
        questions = ask(connection, table, queries, [tuple(scopes), *cases.values()])
    settings = bench.settings
    tuning = tune(
        bench.database, table, made, questions, scopes=scopes, cases=cases,
        floor=settings.rag_recall_floor, exact_rows=settings.rag_search_exact_rows,
        progress=LogLines(say),
    )  # fmt: skip
    say(f"tuned with {len(queries)} made queries: {tuning.probes}")
    return [
        _tuned(bench, table, scopes, made, "ours", made.probes),
        _tuned(bench, table, scopes, made, "ours, tuned with made queries", tuning.probes),
        _tuned(bench, table, scopes, best, "ours, best of three numbers of lists", best.probes),
    ]


def _made(bench: Bench, table: VectorTable, request: IndexRequest) -> Generation:
    started = time.perf_counter()
    made = maintain(
        bench.database,
        bench.settings,
        table,
        request,
        run_id=RUN_ID,
        progress=LogLines(say),
        queries=bench.corpus.queries(0, bench.tuning),
    ).generation
    assert made is not None
    seconds = time.perf_counter() - started
    say(f"built and tuned in {seconds:.1f} s: {made.lists} lists, {made.probes}")
    return made


def _tuned(
    bench: Bench,
    table: VectorTable,
    scopes: dict[str, int],
    generation: Generation,
    name: str,
    probes: Probes | None,
) -> Setting:
    assert probes is not None
    target = target_of(table, scopes, generation, None)
    target = type(target)(table, scopes, generation.number, generation.precision, probes)

    def plan(confined: Sequence[str]) -> SearchPlan:
        return choose_plan(target, confined, exact_rows=bench.settings.rag_search_exact_rows)

    told = f"{probes.plain}, filtered {probes.filtered}"
    return Setting(name, str(generation.lists), told, plan)
