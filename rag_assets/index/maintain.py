"""Maintain one table's index: decide, build, tune and record while the old generation serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rag_assets.bible.sql.verses import version_languages
from rag_assets.errors import ConfigurationError, RagAssetsError
from rag_assets.index.build import (
    BuildOptions,
    build,
    check_size,
    drop_leftovers,
    drop_unneeded,
)
from rag_assets.index.cases import EVERYTHING, cases_of, request_of
from rag_assets.index.coding import Coded, coded
from rag_assets.index.enough import Allowed
from rag_assets.index.golden import golden_queries
from rag_assets.index.last_checks import current_index, queries_lost, recall_failed
from rag_assets.index.measuring import Point
from rag_assets.index.policy import (
    SCAN_P95_MS,
    CurrentIndex,
    IndexAction,
    IndexDecision,
    MeasuredScan,
    decide_index,
)
from rag_assets.index.questions import Questions, ask, held_out_queries
from rag_assets.index.sql import builds as index_builds
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import Generation, ListsFrom
from rag_assets.index.text_queries import TUNING, EmbeddedTexts, embedded, sampled_queries
from rag_assets.index.tune import Tuning, recorded_curves, tune
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import Codes, Target
from rag_assets.retrieval.released import served_on_trial
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.retrieval.timing import measure_latency
from rag_assets.settings.model import Precision, Settings
from rag_assets.vectors.sql import code_sets
from rag_assets.vectors.sql.check_results import check_results
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.prewarm import prewarm
from rag_assets.vectors.sql.served import pinned_code_sets
from rag_assets.vectors.sql.tables import VectorTable, fold_changes, revision, rows_by_scope

_TUNING_SEED = 1
_LOAD_QUERIES = 80
"""Queries that show whether a concurrent scan takes half the objective or twice as long."""
_TUNING_TEXTS = 2
"""Times as many sampled texts as the checks ask, to detect a smaller loss. Twice as many again, of
which none may be lost, after a check has lost some: the same choice would fail it again."""
_MAX_VECTOR_DIMENSIONS = 2000  # IVFFlat's limit for type vector; halfvec: twice as many


@dataclass(frozen=True)
class IndexRequest:
    """What an operator requests of one run; by default the settings apply.

    :param lists: build with this number of lists, whatever the policy says.
    :param lists_candidates: build with each of these, and keep the one that measures best.
    :param precision: precision of the index; ``halfvec`` indexes ``vector`` in half the bytes.
    :param force: build, whatever the policy says.
    """

    lists: int | None = None
    lists_candidates: tuple[int, ...] = ()
    precision: Precision | None = None
    maintenance_work_mem: str | None = None
    force: bool = False

    @property
    def build_reason(self) -> str | None:
        """The part of the request that requires a build, in words; ``None`` if nothing does."""
        if self.lists_candidates:
            return f"asked for the best of {', '.join(map(str, self.lists_candidates))} lists"
        if self.lists is not None:
            return f"asked for {self.lists} lists"
        if self.precision is not None:
            return f"asked for precision {self.precision}"
        return "forced" if self.force else None


@dataclass(frozen=True)
class IndexOutcome:
    """The outcome for one table.

    :param generation: the generation to serve next; ``None`` for no index.
    :param codes: the table's codes and their scan; ``None`` if they are not used.
    :param tuning: the tuning of a generation built by this run.
    :param curves: those that the generation's probes were chosen from, by this run or an earlier.
    :param leftovers: invalid indexes of earlier failures that were dropped.
    :param dropped: generations that were dropped because nothing needs them any more.
    """

    table: VectorTable
    rows: int
    decision: IndexDecision
    generation: Generation | None
    tuning: Tuning | None
    leftovers: tuple[str, ...]
    dropped: tuple[int, ...]
    codes: Coded | None = None
    curves: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)


def maintain(
    database: Database,
    settings: Settings,
    table: VectorTable,
    request: IndexRequest,
    *,
    run_id: str,
    progress: Progress,
    queries: NDArray[np.float32] | None = None,
) -> IndexOutcome:
    """Decide on one table and, if necessary, build and tune a new generation.

    Two runs on one table take turns.

    :param queries: float32, shape (n, dimensions): real held-out queries to tune with; by default
        they are made from the table's own vectors.
    :raises IndexBuildError: the index cannot be built; the last decision remains in effect.
    """
    with database.connect(autocommit=True) as session:
        index_builds.lock_builds(
            session,
            table,
            waiting=lambda: progress.say(f"another run is building on {table}: waiting for it"),
        )
        leftovers = drop_leftovers(session, table)
        fold_changes(session)
        work = _Work(session, database, settings, table, request, run_id, progress, queries)
        rows, seen = work.rows, work.seen
        ready = generations.ready_generations(session, table)
        latest = next((made for made in reversed(ready) if made.probes is not None), None)
        codes = work.codes()
        current = current_index(latest, seen.rows_changed, work.results)
        decision = decide_index(
            rows=rows,
            current=current,
            profile=settings.rag_index_profile,
            min_rows=settings.rag_index_min_rows,
            growth=settings.rag_index_rebuild_share,
            scan=work.scan(codes, current),
            lists=request.lists or settings.rag_index_lists,
            requested=request.build_reason,
        )
        progress.say(f"{table}: {decision.action} because {'; '.join(decision.reasons)}")
        generation, tuning = (latest if decision.action is IndexAction.KEEP else None), None
        if decision.action is IndexAction.BUILD:
            generation, tuning = work.build(decision.lists, codes)
        work.record(decision, generation, codes)
        curves: Mapping[str, tuple[Point, ...]] = {}
        if generation is not None:
            curves = recorded_curves(generations.recorded_tuning(session, generation.number))
        dropped = drop_unneeded(session, table, generation, kept=settings.rag_releases_kept)
        pinned = pinned_code_sets(session, kept=settings.rag_releases_kept)
        in_use = {codes.code_set.number} if codes else set()
        code_sets.drop_unneeded(session, table, pinned | in_use)
    return IndexOutcome(
        table, rows, decision, generation, tuning, leftovers, dropped, codes, curves
    )


@dataclass
class _Work:
    """What the steps of one run on one table share. The session holds the build lock."""

    session: Connection
    database: Database
    settings: Settings
    table: VectorTable
    request: IndexRequest
    run_id: str
    progress: Progress
    given_queries: NDArray[np.float32] | None

    def __post_init__(self) -> None:
        self.rows = sum(rows_by_scope(self.session, self.table).values())
        self.seen = revision(self.session, self.table)
        self.results = check_results(self.session, self.table)
        self.scopes = servable_scopes(self.session, self.settings, self.table)

    @cached_property
    def queries(self) -> NDArray[np.float32]:
        """Held-out queries, float32, shape (n, dimensions)."""
        if self.given_queries is not None:
            return self.given_queries
        count = self.settings.rag_index_query_sample
        return held_out_queries(self.session, self.table, count, seed=_TUNING_SEED)

    @cached_property
    def languages(self) -> Mapping[str, str]:
        return version_languages(self.session)

    @cached_property
    def lost(self) -> bool:
        """Whether the last checks lost text queries that exact search answers."""
        return queries_lost(generations.last_decision(self.session, self.table), self.results)

    @property
    def allowed(self) -> Allowed:
        """The text queries that a choice may lose."""
        golden = self.settings.golden_lost_max(0)
        return Allowed(0, golden) if self.lost else Allowed(golden=golden)

    @cached_property
    def texts(self) -> EmbeddedTexts | None:
        """Text queries; ``None`` if they cannot be embedded now."""
        session, settings, table = self.session, self.settings, self.table
        try:
            golden = golden_queries(session, settings, table, self.scopes, self.languages)
            sampled = sampled_queries(
                session, settings, table, self.scopes, half=TUNING,
                times=_TUNING_TEXTS * (2 if self.lost else 1),
            )  # fmt: skip
            return embedded(session, settings, table, golden, sampled, self.progress)
        except RagAssetsError as error:
            self.progress.say(f"measured without text queries: {error}")
            return None

    @cached_property
    def cases(self) -> Mapping[str, tuple[str, ...]]:
        """The filters to tune for."""
        return cases_of(self.table, self.scopes, self.languages)

    @cached_property
    def questions(self) -> Questions:
        """Queries and what exact search finds for them, compared with every row once per run."""
        return ask(
            self.session, self.table, self.queries, [tuple(self.scopes), *self.cases.values()],
            everything=self.scopes, texts=self.texts, rows=self.rows, progress=self.progress,
        )  # fmt: skip

    def codes(self) -> Coded | None:
        """The table's codes, complete and measured."""
        last = generations.last_decision(self.session, self.table)
        return coded(
            self.session, self.database, self.table, self.settings, lambda: self.queries,
            lambda: self.questions, scopes=self.scopes, cases=self.cases, rows=self.rows,
            rows_changed=self.seen.rows_changed, last=last,
            measure_again=self.lost or recall_failed(last, self.results),
            run_id=self.run_id, progress=self.progress, allowed=self.allowed,
        )  # fmt: skip

    def scan(self, codes: Coded | None, current: CurrentIndex | None) -> MeasuredScan | None:
        """The scan's recall, and its latency under load if an index over codes may be needed."""
        if codes is None:
            return None
        p95_ms = None
        indexed = current is not None and current.code_set == codes.code_set.number
        if self.rows >= self.settings.rag_index_min_rows and not indexed:
            p95_ms = self._scan_p95_ms(codes)
        concurrency = self.settings.rag_slo_concurrency
        return MeasuredScan(codes.code_set.number, codes.recall, p95_ms, concurrency)

    def _scan_p95_ms(self, codes: Coded) -> float:
        own = self.table.space.spec.precision
        target = Target(self.table, self.scopes, None, own, None, Codes(codes.code_set, codes.use))
        request = request_of(self.table, EVERYTHING, tuple(self.scopes))
        concurrency = self.settings.rag_slo_concurrency
        served = served_on_trial(self.session, target)
        for queries in (concurrency, _LOAD_QUERIES):  # one each is enough if far too slow
            self.progress.say(
                f"measuring {queries} scans of {codes.code_set}, {concurrency} concurrently"
            )
            found = measure_latency(
                self.database, self.settings, served, request, self.queries[:queries],
                concurrency=concurrency,
            )  # fmt: skip
            if found.p50_ms > SCAN_P95_MS:
                break
        return found.p95_ms

    def record(
        self, decision: IndexDecision, generation: Generation | None, codes: Coded | None
    ) -> None:
        """Record the decision."""
        generations.record_decision(
            self.session,
            self.table,
            action=decision.action.value,
            generation=generation.number if generation else None,
            reasons=decision.reasons,
            rows=self.rows,
            revision=self.seen.number,
            run_id=self.run_id,
            codes=codes.use if codes else None,
            tuning=codes.record if codes else None,
            rows_changed=codes.rows_changed if codes else 0,
        )

    def build(self, lists: int, codes: Coded | None) -> tuple[Generation, Tuning]:
        """Build and tune each candidate, keep the fastest that reaches the floor, drop the rest."""
        options = _build_options(self.settings, self.table, self.request, lists, codes)
        candidates = self.request.lists_candidates
        source: ListsFrom = "measured" if candidates else options.lists_from
        wanted = [
            replace(options, lists=lists, lists_from=source)
            for lists in candidates or (options.lists,)
        ]
        for each in wanted:
            check_size(self.session, self.table, each, rows=self.rows, progress=self.progress)
        best: tuple[int, Tuning] | None = None
        for each in wanted:
            number, tuning = self._build_one(each, codes)
            better = best is None or tuning.p95_ms < best[1].p95_ms
            if best is not None:
                _drop(self.session, self.table, best[0] if better else number)
            if better:
                best = number, tuning
        if best is None:
            raise ConfigurationError("no number of lists to build with")
        # Only now: a generation without probes never serves, so the next run drops whatever a run
        # that fails or is killed between two candidates leaves behind.
        number, tuning = best
        generations.tuned(self.session, number, tuning.probes, tuning.as_json(), tuning.codes)
        return _ready(self.session, self.table, number), tuning

    def _build_one(self, options: BuildOptions, codes: Coded | None) -> tuple[int, Tuning]:
        number = build(
            self.session, self.database, self.table, options, rows=self.rows, run_id=self.run_id,
            progress=self.progress,
        )  # fmt: skip
        made = [i for i in live_indexes(self.session, self.table)
                if i.generation == number]  # fmt: skip
        relations = [index.name for index in made]
        prewarm(self.session, [*relations, *([options.codes.name] if options.codes else [])])
        held = Codes(options.codes, codes.use) if options.codes and codes else None
        tuning = tune(
            self.database, self.table, _ready(self.session, self.table, number), self.questions,
            scopes=self.scopes, cases=self.cases, floor=self.settings.rag_recall_floor,
            exact_rows=self.settings.rag_search_exact_rows, progress=self.progress, codes=held,
            allowed=self.allowed,
        )  # fmt: skip
        return number, tuning


def _build_options(
    settings: Settings, table: VectorTable, request: IndexRequest, lists: int, codes: Coded | None
) -> BuildOptions:
    own, dimensions = table.space.spec.precision, table.space.spec.dimensions
    precision = request.precision or ("halfvec" if dimensions > _MAX_VECTOR_DIMENSIONS else own)
    if precision == "vector" and dimensions > _MAX_VECTOR_DIMENSIONS:
        raise ConfigurationError(
            f"{table}: an index of precision vector holds at most {_MAX_VECTOR_DIMENSIONS:,} "
            "dimensions: ask for halfvec"
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
        codes=codes.code_set if codes and request.precision is None else None,
        maintenance_work_mem=request.maintenance_work_mem
        or settings.rag_index_maintenance_work_mem,
        workers=settings.rag_index_parallel_workers,
    )


def _ready(session: Connection, table: VectorTable, number: int) -> Generation:
    (made,) = (
        made for made in generations.ready_generations(session, table) if made.number == number
    )
    return made


def _drop(session: Connection, table: VectorTable, number: int) -> None:
    indexes = live_indexes(session, table)
    generations.drop_indexes(session, [i for i in indexes if i.generation == number])
