"""Check whether an index is fit to serve: measured on the corpus, judged by pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from rag_assets.errors import RagAssetsError
from rag_assets.index.cases import EVERYTHING, TOP_K, confined_to, plan_of
from rag_assets.index.indexed_tables import ASSETS
from rag_assets.index.latency import measured_latency
from rag_assets.index.measuring import Point, recall_of, target_of
from rag_assets.index.query_classes import (
    GOLDEN_CLASSES,
    SAMPLED_CLASSES,
    ClassResult,
    QueryClass,
    figures_of,
    floor_of,
    judge_golden,
    judge_sampled,
    summary_of,
)
from rag_assets.index.questions import held_out_queries
from rag_assets.index.reuse import INPUTS, inputs_of, reused, why_reused
from rag_assets.index.sql import generations
from rag_assets.index.sql.explained import indexes_used
from rag_assets.index.sql.generations import Generation, index_subject
from rag_assets.index.trial import SEED, Outcome, Trial
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import Target, codes_of
from rag_assets.retrieval.released import served_on_trial
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.retrieval.sql.chunks import CHUNKS
from rag_assets.retrieval.sql.verses import VERSES
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql import code_sets
from rag_assets.vectors.sql.check_results import check_results, record_check
from rag_assets.vectors.sql.code_sets import use_columns
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import Corpus, VectorTable, revision

INDEX_CHECKS = {
    "index_valid_and_used": "The index is valid, and the query of a search uses it.",
    "recall_at_10": "Recall@10 against exact search over everything that may be served, of each "
    "class of query: fragments and openings of passages, passages of one version in the others, "
    "live queries, and mixtures of vectors.",
    "filtered_recall_at_10": "Recall@10 and hits returned under filters: the smallest version, the "
    "largest, each language.",
    "retrieval_latency_slo": "P95 of a search with top_k 10, alone and at RAG_SLO_CONCURRENCY.",
    "golden_queries": "Golden queries, with and without their language, find what exact search "
    "finds.",
}

CHUNK_INDEX_CHECKS = {
    "index_valid_and_used": INDEX_CHECKS["index_valid_and_used"],
    "recall_at_10": "Recall@10 against exact search over all documents, of each class of query: "
    "fragments and openings of passages, live queries, and mixtures of vectors.",
    "filtered_recall_at_10": "Recall@10 and hits returned under filters: the smallest language, "
    "the largest.",
    "retrieval_latency_slo": INDEX_CHECKS["retrieval_latency_slo"],
}

CHECKS_OF: Mapping[Corpus, Mapping[str, str]] = {
    "bible": INDEX_CHECKS,
    "documents": CHUNK_INDEX_CHECKS,
}
"""Golden queries expect verses, so there are none for documents."""


@dataclass(frozen=True)
class IndexVerdict:
    """One check's outcome; it passes if there are no failures.

    :param subject: what was judged, such as ``generation 7``.
    :param summary: what was measured, in one line.
    """

    check: str
    subject: str
    failures: tuple[str, ...]
    measured: Mapping[str, object]
    summary: str = ""


def judge_index(
    database: Database,
    settings: Settings,
    table: VectorTable,
    wanted: Collection[str],
    *,
    run_id: str,
    progress: Progress,
) -> Iterator[IndexVerdict]:
    """Run the checks on the generation decided on, and record each result as evidence.

    A check that cannot be measured fails. One that nothing has changed for is not measured again.
    """
    with database.connect(autocommit=True) as connection:
        decision = generations.last_decision(connection, table)
        seen = revision(connection, table)
        scopes = servable_scopes(connection, settings, table)
        ready = {made.number: made for made in generations.ready_generations(connection, table)}
        queries = held_out_queries(connection, table, settings.rag_index_query_sample, seed=SEED)
    if decision is None:
        undecided = f"no decision on this index yet: {_fix(table)}"
        for check in wanted:
            yield IndexVerdict(check, index_subject(None), (undecided,), {})
        return
    generation = ready.get(decision.generation) if decision.generation else None
    use = generation.codes if generation else decision.codes
    gone = decision.generation is not None and generation is None
    with database.connect(autocommit=True) as connection:
        codes = codes_of(connection, table, use)
        target = target_of(table, scopes, generation, settings.pg_ivfflat_probes, codes)
        served = served_on_trial(connection, target)
        results = check_results(connection, table)
    subject, facts = index_subject(decision.generation, use), _facts(target, generation)
    inputs = inputs_of(settings, revision=seen.number, facts=facts | {"scopes": dict(scopes)})
    named = [check for check in CHECKS_OF[table.corpus] if check in wanted]
    last = {check: reused(check, subject, results, inputs, settings) for check in named}
    with ExitStack() as stack:
        case = Trial(
            database, settings, generation, target, served, queries,
            [check for check in named if not last[check]], progress, stack,
        )  # fmt: skip
        for check in named:
            if not gone and (found := last[check]):
                why = why_reused(found)
                progress.say(f"{check}: {why}")
                yield IndexVerdict(check, subject, (), {**found.measured, "reused": why}, why)
                continue
            progress.say(f"checking {check}")
            outcome = _outcome(check, case, decision.generation if gone else None)
            measured = {**facts, **outcome.measured, INPUTS: inputs}
            verdict = IndexVerdict(check, subject, outcome.failures, measured, outcome.summary)
            _record(database, table, verdict, revision=seen.number, run_id=run_id)
            yield verdict


def _outcome(check: str, case: Trial, gone: int | None) -> Outcome:
    if gone is not None or not case.target.scopes:
        missing = _unmeasured(case.target.table, gone)
        return Outcome(missing, {}, "there is nothing to measure")
    return _evaluate(check, case)


def _record(
    database: Database, table: VectorTable, verdict: IndexVerdict, *, revision: int, run_id: str
) -> None:
    with database.connect() as connection:
        record_check(
            connection,
            table,
            subject=verdict.subject,
            check=verdict.check,
            reasons=verdict.failures,
            measured=verdict.measured,
            revision=revision,
            run_id=run_id,
        )


def _fix(table: VectorTable) -> str:
    return f"materialize {ASSETS[table.corpus].index}"


def _facts(target: Target, generation: Generation | None) -> dict[str, object]:
    """The facts about what was judged, read from the index itself rather than the settings."""
    probes, codes = target.probes, target.codes
    parts = "versions" if target.table.corpus == "bible" else "languages"
    return {
        parts: sorted(target.scopes),
        "rows": sum(target.scopes.values()),
        "lists": generation.lists if generation else None,
        "probes": probes.plain if probes else None,
        "filtered_probes": probes.filtered if probes else None,
        "max_probes": probes.limit if probes else None,
        "bits": codes.code_set.recipe.bits if codes else None,
        **use_columns(codes.use if codes else None),
    }


def _unmeasured(table: VectorTable, gone: int | None) -> tuple[str, ...]:
    """Why nothing can be measured; empty if there are no documents, which is no failure.

    :param gone: the generation whose index is missing; ``None`` if nothing may be served.
    """
    if gone is not None:
        return (f"the index of generation {gone} is gone or invalid: {_fix(table)}",)
    if table.corpus == "documents":
        return ()
    return ("no version that may be served has vectors here",)


def _evaluate(check: str, case: Trial) -> Outcome:
    match check:
        case "index_valid_and_used":
            return _used(case)
        case "recall_at_10":
            return _recall(case)
        case "filtered_recall_at_10":
            return _filtered_recall(case)
        case "retrieval_latency_slo":
            return measured_latency(case)
        case "golden_queries":
            return _golden(case)
        case _:
            raise ValueError(f"the index check {check} has no function here")


def _used(case: Trial) -> Outcome:
    """Check that each vector has a code, and that EXPLAIN shows the index if the plan uses it."""
    failures = _without_code(case)
    if case.generation is None:
        kind = "codes" if case.target.codes else "exact"
        return Outcome(failures, {"plan": kind}, f"no index: the plan is {kind}")
    used: dict[str, object] = {}
    with case.database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        (name,) = (
            index.name
            for index in live_indexes(connection, case.target.table)
            if index.generation == case.generation.number
        )
        for filter_name, scopes in {
            EVERYTHING: tuple(case.target.scopes),
            **case.filters,
        }.items():
            plan = plan_of(case.target, filter_name, scopes, exact_rows=case.exact_rows)
            if plan.generation is None:
                used[filter_name] = str(plan)
                continue
            table = case.target.table
            confined = confined_to(table, filter_name, scopes)
            found = indexes_used(
                connection, table, plan, case.queries[0], top_k=TOP_K, scopes=confined,
                joined=VERSES if table.corpus == "bible" else CHUNKS,
            )  # fmt: skip
            used[filter_name] = found
            failures += tuple(
                f"{filter_name}: the {mode} plan does not use {name} but "
                f"{', '.join(names) or 'a scan of the table'}"
                for mode, names in found.items()
                if name not in names
            )
    return Outcome(failures, {"plans": used}, f"searches use {name}")


def _without_code(case: Trial) -> tuple[str, ...]:
    codes, table = case.target.codes, case.target.table
    if codes is None:
        return ()
    with case.database.connect() as connection:
        missing = code_sets.count_uncoded(connection, table, codes.code_set)
    return (uncoded(missing),) if missing else ()


def uncoded(count: int) -> str:
    """The failure message for vectors without a code."""
    vectors = "1 vector has" if count == 1 else f"{count:,} vectors have"
    return f"{vectors} no code, so that no search finds them"


def _recall(case: Trial) -> Outcome:
    """Judge every class of query over everything, but for golden queries."""
    settings, measured = case.settings, case.measured
    everything = tuple(measured.target.scopes)
    points = recall_of(measured.alone, measured.questions, {EVERYTHING: everything})
    of_mixtures = {QueryClass.MIXTURES.value: points[EVERYTHING]}
    rows = {QueryClass.MIXTURES.value: sum(measured.target.scopes.values())}
    failures = judge_recall(of_mixtures, rows, floor=settings.rag_recall_floor)
    asked = len(case.queries)
    results = {QueryClass.MIXTURES: ClassResult(asked, asked, points[EVERYTHING].recall)}
    found = _results(case, SAMPLED_CLASSES)
    if isinstance(found, RagAssetsError):
        return Outcome((*failures, f"text queries cannot be asked: {found}"), {})
    results |= found
    floors = {kind: floor_of(settings, kind) for kind in results}
    for kind, result in found.items():
        failures += judge_sampled(kind, result, floor=floors[kind])
    return Outcome(
        failures,
        {
            **figures_of(results, floors),
            "cases": {name: asdict(point) for name, point in points.items()},
            "classes": {kind.value: asdict(result) for kind, result in results.items()},
        },
        summary_of(results, floors),
    )


def _results(
    case: Trial, kinds: Collection[QueryClass]
) -> dict[QueryClass, ClassResult] | RagAssetsError:
    """How the index answers text queries, or why they cannot be asked."""
    if isinstance(case.texts, RagAssetsError):
        return case.texts
    try:
        return case.measured.results(kinds)
    except RagAssetsError as error:
        return error


def _filtered_recall(case: Trial) -> Outcome:
    """Judge mixtures under filters."""
    measured, floor = case.measured, case.settings.rag_recall_floor
    cases = measured.filters
    points = recall_of(measured.alone, measured.questions, cases)
    rows = {
        name: sum(measured.target.scopes[scope] for scope in scopes)
        for name, scopes in cases.items()
    }
    listed = ", ".join(f"{name} {point.recall:.3f}" for name, point in points.items())
    return Outcome(
        judge_recall(points, rows, floor=floor),
        {
            **{
                f"recall_at_10_{_stable(name)}": round(point.recall, 4)
                for name, point in points.items()
            },
            "floor": floor,
            "cases": {name: asdict(point) for name, point in points.items()},
        },
        f"recall@{TOP_K} (floor {floor}): {listed}" if listed else "there is nothing to filter by",
    )


def _stable(name: str) -> str:
    """A filter's name as part of a figure's: the same whichever version is the largest."""
    return name.partition(" (")[0].replace(" ", "_")


def judge_recall(
    points: Mapping[str, Point], rows: Mapping[str, int], *, floor: float
) -> tuple[str, ...]:
    """Failures of recall, and of the hits returned: ten, or all rows if there are fewer. Pure."""
    failures = []
    for name, point in points.items():
        if point.recall < floor:
            at = f" at {point.probes} probes" if point.probes else ""
            if point.candidates and not at:
                at = f" with {point.candidates} candidates"
            failures.append(f"{name}: recall@{TOP_K} {point.recall:.3f} is under {floor}{at}")
        expected = min(TOP_K, rows[name])
        if point.k_returned < expected:
            failures.append(f"{name}: {point.k_returned:.2f} hits on average instead of {expected}")
    return tuple(failures)


def _golden(case: Trial) -> Outcome:
    settings = case.settings
    if isinstance(case.golden, RagAssetsError):
        return Outcome((str(case.golden),), {})
    results = _results(case, GOLDEN_CLASSES)
    if isinstance(results, RagAssetsError):
        return Outcome((str(results),), {})
    for name, instead in settings.deprecated().items():
        case.progress.say(f"{name} is deprecated: set {instead}, instead")
    answered = sum(result.answered for result in results.values())
    lost_max = settings.golden_lost_max(answered)
    without = settings.rag_golden_queries is None
    failures = judge_golden(
        results, floor=settings.rag_golden_floor, lost_max=lost_max, without=without
    )
    note = {"golden_queries": "none, by RAG_GOLDEN_QUERIES"} if without else {}
    return Outcome(
        failures,
        {
            **figures_of(results, {}),
            "lost_max": lost_max,
            "classes": {kind.value: asdict(result) for kind, result in results.items()},
            **note,
        },
        note.get("golden_queries") or summary_of(results, {}),
    )
