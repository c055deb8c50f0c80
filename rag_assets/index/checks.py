"""Check whether an index is fit to serve: measured on the corpus, judged by pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass

from rag_assets.errors import RagAssetsError
from rag_assets.index.cases import EVERYTHING, TOP_K, confined_to, plan_of, request_of
from rag_assets.index.golden import GoldenResult, golden_result
from rag_assets.index.indexed_tables import ASSETS
from rag_assets.index.measuring import Point, recall_of, target_of
from rag_assets.index.questions import held_out_queries
from rag_assets.index.sql import generations
from rag_assets.index.sql.explained import indexes_used
from rag_assets.index.sql.generations import Generation, index_subject
from rag_assets.index.trial import SEED, Trial
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import Target, codes_of
from rag_assets.retrieval.released import served_on_trial
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.retrieval.sql.chunks import CHUNKS
from rag_assets.retrieval.sql.verses import VERSES
from rag_assets.retrieval.timing import Latency, measure_latency
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql import code_sets
from rag_assets.vectors.sql.check_results import record_check
from rag_assets.vectors.sql.code_sets import use_columns
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import Corpus, VectorTable, revision

INDEX_CHECKS = {
    "index_valid_and_used": "The index is valid, and the query of a search uses it.",
    "recall_at_10": "Recall@10 against exact search, over everything that may be served.",
    "filtered_recall_at_10": "Recall@10 and hits returned under filters: the smallest version, the "
    "largest, each language.",
    "retrieval_latency_slo": "P95 of a search with top_k 10, alone and at RAG_SLO_CONCURRENCY.",
    "golden_queries": "Searches like those of users find what exact search finds, for golden "
    "queries, with and without a language, and for fragments of passages.",
}

CHUNK_INDEX_CHECKS = {
    "index_valid_and_used": INDEX_CHECKS["index_valid_and_used"],
    "recall_at_10": "Recall@10 against exact search, over all documents.",
    "filtered_recall_at_10": "Recall@10 and hits returned under filters: the smallest language, "
    "the largest.",
    "retrieval_latency_slo": INDEX_CHECKS["retrieval_latency_slo"],
}

CHECKS_OF: Mapping[Corpus, Mapping[str, str]] = {
    "bible": INDEX_CHECKS,
    "documents": CHUNK_INDEX_CHECKS,
}
"""Golden queries expect verses, so there are none for documents."""

_PROD_LISTS, _PROD_PROBES = 1000, 10  # the objective assumes at least these


@dataclass(frozen=True)
class IndexVerdict:
    """One check's outcome; it passes if there are no failures.

    :param subject: what was judged, such as ``generation 7``.
    """

    check: str
    subject: str
    failures: tuple[str, ...]
    measured: Mapping[str, object]


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

    A check that cannot be measured fails.
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
    case = Trial(database, settings, generation, target, served, queries, wanted, progress)
    for check in CHECKS_OF[table.corpus]:
        if check not in wanted:
            continue
        progress.say(f"checking {check}")
        measured: dict[str, object] = {}
        if gone or not scopes:
            failures = _unmeasured(table, decision.generation if gone else None)
        else:
            failures, measured = _evaluate(check, case)
        verdict = IndexVerdict(
            check, index_subject(decision.generation, use), failures, _facts(case) | measured
        )
        with database.connect() as connection:
            record_check(
                connection,
                table,
                subject=verdict.subject,
                check=check,
                reasons=failures,
                measured=verdict.measured,
                revision=seen.number,
                run_id=run_id,
            )
        yield verdict


def _fix(table: VectorTable) -> str:
    return f"materialize {ASSETS[table.corpus].index}"


def _facts(case: Trial) -> dict[str, object]:
    """The facts about what was judged, read from the index itself rather than the settings."""
    probes, codes = case.target.probes, case.target.codes
    parts = "versions" if case.target.table.corpus == "bible" else "languages"
    return {
        parts: sorted(case.target.scopes),
        "rows": sum(case.target.scopes.values()),
        "lists": case.generation.lists if case.generation else None,
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


def _evaluate(check: str, case: Trial) -> tuple[tuple[str, ...], dict[str, object]]:
    match check:
        case "index_valid_and_used":
            return _used(case)
        case "recall_at_10":
            return _recall(case, {EVERYTHING: tuple(case.target.scopes)})
        case "filtered_recall_at_10":
            return _recall(case, case.filters)
        case "retrieval_latency_slo":
            return _latency(case)
        case "golden_queries":
            return _golden(case)
        case _:
            raise ValueError(f"the index check {check} has no function here")


def _used(case: Trial) -> tuple[tuple[str, ...], dict[str, object]]:
    """Check that each vector has a code, and that EXPLAIN shows the index if the plan uses it."""
    failures = _without_code(case)
    if case.generation is None:
        return failures, {"plan": "codes" if case.target.codes else "exact"}
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
    return failures, {"plans": used}


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


def _recall(
    case: Trial, cases: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], dict[str, object]]:
    points = recall_of(case.database, case.settings, case.served, case.questions, cases)
    rows = {
        name: sum(case.target.scopes[scope] for scope in scopes) for name, scopes in cases.items()
    }
    failures = judge_recall(points, rows, floor=case.settings.rag_recall_floor)
    return failures, {"cases": {name: asdict(point) for name, point in points.items()}}


def judge_recall(
    points: Mapping[str, Point], rows: Mapping[str, int], *, floor: float
) -> tuple[str, ...]:
    """Failures of recall, and of the hits returned: ten, or all rows if there are fewer. Pure."""
    failures = []
    for name, point in points.items():
        if point.recall < floor:
            failures.append(
                f"{name}: recall@{TOP_K} {point.recall:.3f} is under {floor} at {point.probes} "
                "probes"
            )
        expected = min(TOP_K, rows[name])
        if point.k_returned < expected:
            failures.append(f"{name}: {point.k_returned:.2f} hits on average instead of {expected}")
    return tuple(failures)


def _latency(case: Trial) -> tuple[tuple[str, ...], dict[str, object]]:
    scopes = case.target.scopes
    largest = max(scopes, key=lambda scope: scopes[scope])
    measured: dict[str, Latency] = {}
    part = "version" if case.target.table.corpus == "bible" else "language"
    for name, confined in ((EVERYTHING, tuple(scopes)), (f"{part} {largest}", (largest,))):
        request = request_of(case.target.table, name, confined)
        for concurrency in sorted({1, case.settings.rag_slo_concurrency}):
            measured[f"{name}, concurrency {concurrency}"] = measure_latency(
                case.database,
                case.settings,
                case.served,
                request,
                case.queries,
                concurrency=concurrency,
            )
    failures = judge_latency(measured, slo_ms=case.settings.rag_slo_p95_ms)
    facts: dict[str, object] = {name: asdict(found) for name, found in measured.items()}
    return failures, {
        "slo_ms": case.settings.rag_slo_p95_ms,
        "latency": facts,
        "production_conditions": production_conditions(case.settings, case.target, case.generation),
    }


def judge_latency(measured: Mapping[str, Latency], *, slo_ms: float) -> tuple[str, ...]:
    """Latencies that miss the objective. Pure."""
    return tuple(
        f"{name}: P95 {latency.p95_ms:.0f} ms is over {slo_ms:.0f} ms"
        for name, latency in measured.items()
        if latency.p95_ms > slo_ms
    )


def production_conditions(
    settings: Settings, target: Target, generation: Generation | None
) -> str | None:
    """Compare the index with the conditions of the objective; ``None`` in the dev profile.

    They are reported, not enforced: measured recall and latency decide.
    """
    if settings.rag_index_profile != "prod":
        return None
    if generation is None or target.probes is None:
        return "no index: the objective's lists and probes do not apply"
    return (
        f"lists {generation.lists} (the objective was written for {_PROD_LISTS} or more), "
        f"probes {target.probes.plain} ({_PROD_PROBES} or more)"
    )


def _golden(case: Trial) -> tuple[tuple[str, ...], dict[str, object]]:
    settings, texts = case.settings, case.texts
    if isinstance(texts, RagAssetsError):
        return (str(texts),), {}
    questions = case.questions
    try:
        with case.database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            result = golden_result(connection, settings, case.served, questions)
    except RagAssetsError as error:
        return (str(error),), {}
    without = settings.rag_golden_queries is None
    failures = judge_golden(
        result,
        floor=settings.rag_golden_floor,
        agreement=settings.rag_golden_agreement,
        fragment_agreement=settings.rag_fragment_agreement,
        without=without,
    )
    note = {"golden_queries": "none, by RAG_GOLDEN_QUERIES"} if without else {}
    return failures, asdict(result) | note


def judge_golden(
    result: GoldenResult,
    *,
    floor: float,
    agreement: float,
    fragment_agreement: float,
    without: bool = False,
) -> tuple[str, ...]:
    """Failures: no queries, too few answered even by exact search, or too many lost. Pure.

    :param without: golden queries are disabled.
    """
    failures = []
    if not (result.applicable or without):
        failures.append(
            "no golden query expects a verse of the versions served: write some for them in "
            "RAG_GOLDEN_QUERIES"
        )
    if result.by_exact < floor * result.applicable:
        failures.append(
            f"exact search answers {result.by_exact} of {result.applicable} golden queries, under "
            f"{floor:.0%}: the vectors do not fit these texts. Missed: {_first(result.missed)}"
        )
    if result.by_plan < agreement * result.by_exact:
        failures.append(
            f"the released search answers {result.by_plan} of the {result.by_exact} golden queries "
            f"that exact search answers, under {agreement:.0%}. Lost: {_first(result.lost)}"
        )
    lost = len(result.fragments_lost)
    if lost > (1 - fragment_agreement) * result.fragments_by_exact:
        failures.append(
            f"the released search loses {lost} of the {result.fragments_by_exact} fragments of "
            f"passages that exact search answers, over {1 - fragment_agreement:.0%}. Lost: "
            f"{_first(result.fragments_lost)}"
        )
    return tuple(failures)


def _first(queries: tuple[str, ...]) -> str:
    return f"{'; '.join(queries[:3])}{'; …' if len(queries) > 3 else ''}"
