"""The latency check: a search as applications send it, alone and under load.

While texts are embedded, the machine is busy with that. A failure then refuses the release, and is
no evidence against the index: another build would change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from rag_assets.index.cases import EVERYTHING, request_of
from rag_assets.index.sql.generations import Generation
from rag_assets.index.trial import Outcome, Trial
from rag_assets.postgres import locks
from rag_assets.postgres.database import Database
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.timing import WARM_UP, Latency, latency_of, measure_latency
from rag_assets.settings.model import Settings

EMBEDDING = "embedding_meanwhile"
"""The figure that says whether texts were embedded during the measurement."""
_PROD_LISTS, _PROD_PROBES = 1000, 10  # the objective assumes at least these


def measured_latency(case: Trial) -> Outcome:
    """Judge the P95 over everything and filtered by the largest version.

    Searches that run alone are those that recall was measured with, if it was.
    """
    target = case.measured.target
    scopes = target.scopes
    largest = max(scopes, key=lambda scope: scopes[scope])
    measured: dict[str, Latency] = {}
    figures: dict[str, float] = {}
    embedding = _embedding(case.database)
    part = "version" if target.table.corpus == "bible" else "language"
    for name, confined, stable in (
        (EVERYTHING, tuple(scopes), EVERYTHING),
        (f"{part} {largest}", (largest,), f"largest_{part}"),
    ):
        request = request_of(target.table, name, confined)
        for concurrency in sorted({1, case.settings.rag_slo_concurrency}):
            if concurrency == 1:
                found = latency_of([case.measured.alone.searches(name, confined)], warm=WARM_UP)
            else:
                found = measure_latency(
                    case.database, case.settings, case.measured.served, request, case.queries,
                    concurrency=concurrency,
                )  # fmt: skip
            embedding = _embedding(case.database) or embedding
            measured[f"{name}, concurrency {concurrency}"] = found
            figures[f"p95_ms_{stable}_concurrency_{concurrency}"] = round(found.p95_ms, 2)
    slo_ms = case.settings.rag_slo_p95_ms
    listed = ", ".join(f"{found.p95_ms:.0f} ms {name}" for name, found in measured.items())
    return Outcome(
        judge_latency(measured, slo_ms=slo_ms, embedding=embedding),
        {
            **figures,
            EMBEDDING: embedding,
            "slo_ms": slo_ms,
            "latency": {name: asdict(found) for name, found in measured.items()},
            "production_conditions": production_conditions(
                case.settings, case.target, case.generation
            ),
        },
        f"P95 (limit {slo_ms:.0f} ms): {listed}",
    )


def _embedding(database: Database) -> bool:
    with database.connect() as connection:
        return locks.has_living_owners(connection)


def judge_latency(
    measured: Mapping[str, Latency], *, slo_ms: float, embedding: bool = False
) -> tuple[str, ...]:
    """Latencies that miss the objective. Pure.

    :param embedding: texts were embedded meanwhile.
    """
    meanwhile = " while texts were being embedded" if embedding else ""
    return tuple(
        f"{name}: P95 {latency.p95_ms:.0f} ms is over {slo_ms:.0f} ms{meanwhile}"
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
