"""Keep one table's index right: decide, build, tune, record; the old generation goes on serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag_assets.errors import ConfigurationError, RagAssetsError
from rag_assets.index.build import BuildOptions, build, check_size, drop_leftovers
from rag_assets.index.golden import embedded_texts, loses_queries
from rag_assets.index.policy import Action, Decision, InForce, decide
from rag_assets.index.queries import held_out_queries
from rag_assets.index.text_queries import EmbeddedTexts
from rag_assets.index.tune import Tuning, cases_of, tune
from rag_assets.progress import Progress
from rag_assets.retrieval.policy import servable_scopes
from rag_assets.settings import Precision, Settings
from rag_assets.store import generations, index_builds
from rag_assets.store.bible import version_languages
from rag_assets.store.check_results import CheckResult, check_results
from rag_assets.store.database import Connection, Database
from rag_assets.store.generations import Generation, ListsFrom
from rag_assets.store.vector_tables import VectorTable, fold_changes, revision, rows_by_scope

EXACT_SUBJECT = "exact"
_TUNING_SEED = 1
_TUNING_TEXTS = 3  # times as many fragments as the check judges by: a smaller loss is to be seen
_MOST_IN_FULL = 2000  # dimensions of type vector that IVFFlat takes; of halfvec twice as many


@dataclass(frozen=True)
class IndexRequest:
    """What a person asks for in one run; empty means the settings' values.

    :param lists: build at once with so many.
    :param lists_candidates: build at once with each of these, and keep what measures best.
    :param precision: of the index; ``halfvec`` indexes a ``vector`` space in half the bytes.
    :param force: build at once, whatever the policy says.
    """

    lists: int | None = None
    lists_candidates: tuple[int, ...] = ()
    precision: Precision | None = None
    maintenance_work_mem: str | None = None
    force: bool = False

    @property
    def asked(self) -> str | None:
        """What of it calls for a build at once, in words."""
        if self.lists_candidates:
            return f"asked for the best of {', '.join(map(str, self.lists_candidates))} lists"
        if self.lists is not None:
            return f"asked for {self.lists} lists"
        if self.precision is not None:
            return f"asked for precision {self.precision}"
        return "forced" if self.force else None


@dataclass(frozen=True)
class Outcome:
    """What became of one table.

    :param generation: to serve next; ``None`` for exact search.
    :param tuning: of a generation that was built now.
    :param leftovers: invalid indexes of earlier failures, dropped.
    :param dropped: generations that nothing needs any more.
    """

    table: VectorTable
    rows: int
    decision: Decision
    generation: Generation | None
    tuning: Tuning | None
    leftovers: tuple[str, ...]
    dropped: tuple[int, ...]


def maintain(
    database: Database,
    settings: Settings,
    table: VectorTable,
    request: IndexRequest,
    *,
    run_id: str,
    progress: Progress,
    queries: NDArray[np.float32] | None = None,
) -> Outcome:
    """Decide on one table and, if need be, build and tune a new generation.

    Two runs on one table take turns.

    :param queries: float32, shape (n, dimensions): held-out queries to tune with, where there are
        real ones; made of the table's own vectors otherwise.
    :raises IndexBuildError: it cannot be built so; the last decision stands.
    """
    with database.connect(autocommit=True) as session:
        index_builds.lock_builds(
            session,
            table,
            waiting=lambda: progress.say(f"another run is building on {table}: waiting for it"),
        )
        leftovers = drop_leftovers(session, table)
        fold_changes(session)
        rows = sum(rows_by_scope(session, table).values())
        seen = revision(session, table)
        ready = generations.ready_generations(session, table)
        latest = next((made for made in reversed(ready) if made.probes is not None), None)
        decision = decide(
            rows=rows,
            in_force=_in_force(latest, seen.rows_changed, check_results(session, table)),
            profile=settings.rag_index_profile,
            min_rows=settings.rag_index_min_rows,
            growth=settings.rag_index_rebuild_share,
            lists=request.lists or settings.rag_index_lists,
            asked=request.asked,
        )
        progress.say(f"{table}: {decision.action} because {'; '.join(decision.reasons)}")
        generation, tuning = (latest if decision.action is Action.KEEP else None), None
        if decision.action is Action.BUILD:
            options = _build_options(settings, table, request, decision.lists)
            if queries is None:
                queries = held_out_queries(
                    session, table, settings.rag_index_query_sample, seed=_TUNING_SEED
                )
            generation, tuning = _best(
                session, database, settings, table, options, request.lists_candidates, rows,
                queries, run_id=run_id, progress=progress,
            )  # fmt: skip
        generations.record_decision(
            session,
            table,
            action=decision.action.value,
            generation=generation.number if generation else None,
            reasons=decision.reasons,
            rows=rows,
            revision=seen.number,
            run_id=run_id,
        )
        dropped = drop_unneeded(session, table, generation, kept=settings.rag_releases_kept)
    return Outcome(table, rows, decision, generation, tuning, leftovers, dropped)


def subject_of(generation: int | None) -> str:
    """What an index check's result is filed under."""
    return EXACT_SUBJECT if generation is None else f"generation {generation}"


def drop_unneeded(
    session: Connection, table: VectorTable, next_up: Generation | None, *, kept: int
) -> tuple[int, ...]:
    """Drop generations that no kept release serves and that are not the next to serve."""
    pinned = generations.pinned_generations(session, kept=kept)
    gone = [
        index
        for index in generations.live_indexes(session, table)
        if index.generation is not None
        and index.generation not in pinned
        and (next_up is None or index.generation != next_up.number)
    ]
    generations.drop_indexes(session, gone)
    return tuple(index.generation for index in gone if index.generation is not None)


def _in_force(
    latest: Generation | None, rows_changed: int, results: tuple[CheckResult, ...]
) -> InForce | None:
    if latest is None:
        return None
    # A check that judged other probes (PG_IVFFLAT_PROBES) says nothing against the index.
    of_it = {
        result.check: result
        for result in results
        if result.subject == subject_of(latest.number)
        and latest.probes is not None
        and result.measured.get("probes") == latest.probes.plain
    }
    passed = {check: result.passed for check, result in of_it.items()}
    recalls = [passed[name] for name in ("recall_at_10", "filtered_recall_at_10") if name in passed]
    asked = of_it.get("golden_queries")
    # What exact search misses, too, no index would find.
    lost = asked is not None and not asked.passed and loses_queries(asked.measured)
    return InForce(
        lists=latest.lists,
        lists_from=latest.lists_from,
        rows_at_build=latest.rows_at_build,
        changed=rows_changed - latest.changed_at_build,
        recall_ok=all(recalls) if recalls else None,
        latency_ok=passed.get("retrieval_latency_slo"),
        queries_ok=not lost,
    )


def _build_options(
    settings: Settings, table: VectorTable, request: IndexRequest, lists: int
) -> BuildOptions:
    own, dimensions = table.space.spec.precision, table.space.spec.dimensions
    precision = request.precision or ("halfvec" if dimensions > _MOST_IN_FULL else own)
    if precision == "vector" and dimensions > _MOST_IN_FULL:
        raise ConfigurationError(
            f"{table}: an index of precision vector holds at most {_MOST_IN_FULL:,} dimensions: "
            "ask for halfvec"
        )
    if own == "halfvec" and precision == "vector":
        raise ConfigurationError(
            f"{table} holds halfvec: an index of precision vector would be twice as large and no "
            "more exact"
        )
    asked = request.lists is not None or settings.rag_index_lists is not None
    return BuildOptions(
        lists=lists,
        lists_from="asked" if asked else "profile",
        precision=precision,
        maintenance_work_mem=request.maintenance_work_mem
        or settings.rag_index_maintenance_work_mem,
        workers=settings.rag_index_parallel_workers,
    )


def _best(
    session: Connection,
    database: Database,
    settings: Settings,
    table: VectorTable,
    options: BuildOptions,
    candidates: tuple[int, ...],
    rows: int,
    queries: NDArray[np.float32],
    *,
    run_id: str,
    progress: Progress,
) -> tuple[Generation, Tuning]:
    """Build and tune each candidate, keep the fastest that reaches the floor, drop the others."""
    scopes = servable_scopes(session, settings, table)
    languages = version_languages(session)
    cases = cases_of(table, scopes, languages)
    texts = _texts(session, settings, table, scopes, languages, progress)
    source: ListsFrom = "measured" if candidates else options.lists_from
    wanted = [
        replace(options, lists=lists, lists_from=source) for lists in candidates or (options.lists,)
    ]
    for each in wanted:
        check_size(session, table, each, rows=rows, progress=progress)
    best: tuple[int, Tuning] | None = None
    for each in wanted:
        number = build(session, database, table, each, rows=rows, run_id=run_id, progress=progress)
        tuning = tune(
            database, table, _ready(session, table, number), queries, scopes=scopes, cases=cases,
            floor=settings.rag_recall_floor, exact_rows=settings.rag_search_exact_rows,
            progress=progress, texts=texts,
        )  # fmt: skip
        better = best is None or tuning.p95_ms < best[1].p95_ms
        if best is not None:
            _drop(session, table, best[0] if better else number)
        if better:
            best = number, tuning
    if best is None:
        raise ConfigurationError("no number of lists to build with")
    # Only now: a generation without probes never serves, so that what a run that fails or is
    # killed between two candidates leaves behind is dropped by the next.
    generations.tuned(session, best[0], best[1].probes, best[1].as_json())
    return _ready(session, table, best[0]), best[1]


def _texts(
    session: Connection,
    settings: Settings,
    table: VectorTable,
    scopes: Mapping[str, int],
    languages: Mapping[str, str],
    progress: Progress,
) -> EmbeddedTexts | None:
    """Queries in words to tune with; without them where they cannot be embedded now."""
    try:
        return embedded_texts(
            session, settings, table, scopes, languages,
            count=_TUNING_TEXTS * settings.rag_index_text_sample, seed=_TUNING_SEED,
        )  # fmt: skip
    except RagAssetsError as error:
        progress.say(f"probes are chosen without queries in words: {error}")
        return None


def _ready(session: Connection, table: VectorTable, number: int) -> Generation:
    (made,) = (
        made for made in generations.ready_generations(session, table) if made.number == number
    )
    return made


def _drop(session: Connection, table: VectorTable, number: int) -> None:
    indexes = generations.live_indexes(session, table)
    generations.drop_indexes(session, [i for i in indexes if i.generation == number])
