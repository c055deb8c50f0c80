"""Jobs that lead to a release, on the lane's corpus, with small vectors and few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from psycopg import sql

from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run

INDEX, RELEASE = "verse_embeddings_index", "release"
VERSION_CHECKS = sorted(QUALITY_CHECKS)
NO_LOG_CAPTURE = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
"""Two runs in one process that both redirect its output wait for each other for ever."""


def release_lane(make_lane: MakeLane, **overrides: object) -> Lane:
    """The lane with small vectors, no codes, four lists once there is an index."""
    values: dict[str, object] = {
        "rag_embedding_small_dimensions": 64,
        "rag_embedding_large_dimensions": 96,
        "rag_code_bits": 0,
        "rag_index_lists": 4,
        "rag_search_exact_rows": 10,
        "rag_golden_queries": None,
        "rag_index_text_sample": 0,  # four lists over so few rows lose some by chance
        "rag_slo_p95_ms": 60_000,
    }
    return make_lane(**(values | overrides))


def run_job(
    lane: Lane,
    job: str,
    *,
    partition: str | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    only: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Run:
    """Run a job to its end.

    :param config: launchpad entries by asset.
    :param only: assets to run in its place, without their checks.
    """
    defs = lane.defs()
    if only:
        job = "only_these"
        selection = dg.AssetSelection.assets(*only).without_checks()
        these = dg.define_asset_job(job, selection=selection)
        defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[these]))
    return Run(
        defs.resolve_job_def(job).execute_in_process(
            partition_key=partition,
            tags=tags,
            instance=lane.instance,
            run_config={"ops": {op: {"config": dict(given)} for op, given in config.items()}}
            if config
            else None,
            raise_on_error=False,
        )
    )


def release_alone(lane: Lane, **config: object) -> Run:
    """Launch only the asset ``release``, as the button in the UI does."""
    return run_job(lane, "corpus_release", only=[RELEASE], config={RELEASE: config})


def run_version_checks(lane: Lane, code: str) -> Run:
    """Run only the checks of one version."""
    keys = [dg.AssetCheckKey(dg.AssetKey("verse_embeddings"), name) for name in QUALITY_CHECKS]
    job = dg.define_asset_job("only_checks", selection=dg.AssetSelection.checks(*keys))
    defs = dg.Definitions.merge(lane.defs(), dg.Definitions(jobs=[job]))
    return Run(
        defs.resolve_job_def("only_checks").execute_in_process(
            tags={"dagster/partition": code}, instance=lane.instance, raise_on_error=False
        )
    )


def spoil(lane: Lane, code: str) -> None:
    """Corrupt one small vector of a version without recording a change."""
    with lane.corpus.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # no trigger sees it
        connection.execute(
            sql.SQL(
                "UPDATE verse_embeddings_s1 SET embedding = embedding * embedding"
                " WHERE verse_id = (SELECT min(verse_id) FROM verses WHERE version_code = %s)"
            ),
            (code,),
        )


def served(lane: Lane) -> list[str]:
    """Versions of the active release; none when there is no release."""
    rows = lane.rows("SELECT versions FROM releases WHERE state = 'active'")
    return list(rows[0][0]) if rows else []


def releases(lane: Lane) -> list[tuple[int, str]]:
    """Number and state of each release and refusal."""
    return [
        (row[0], row[1]) for row in lane.rows("SELECT release_id, state FROM releases ORDER BY 1")
    ]
