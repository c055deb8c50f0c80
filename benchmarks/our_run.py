"""Our contender, in a process of its own: one run of the asset ``verse_embeddings``.

Settings come from the environment, as in production; the last line printed is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource

import dagster as dg
import psutil

from rag_assets.definitions import build_defs
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.resources import open_corpus

CODE = "EN_BENCH"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--both-spaces", action="store_true")
    both = arguments.parse_args().both_spaces
    logging.disable(logging.INFO)
    corpus = open_corpus()
    defs = build_defs(resources={"corpus": corpus})
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(BIBLE_VERSIONS, [CODE])
    job = defs.resolve_job_def("bible_embeddings")
    imports_mb = psutil.Process().memory_info().rss / 1e6
    result = job.execute_in_process(
        instance=instance,
        partition_key=CODE,
        asset_selection=[dg.AssetKey("verse_embeddings")],
        run_config={"ops": {"verse_embeddings": {"config": {"small_only": not both}}}},
    )
    times = {
        event.event_type_value: instance_time
        for event, instance_time in _times(instance, result.run_id)
    }
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    (materialized,) = result.get_asset_materialization_events()
    metadata = materialized.materialization.metadata
    print(
        json.dumps(
            {
                "seconds": times["STEP_SUCCESS"] - times["STEP_START"],
                "requests": metadata["requests"].value,
                "embedded": metadata["embedded"].value,
                "peak_rss_mb": peak_mb,
                "import_rss_mb": imports_mb,
            }
        )
    )


def _times(instance: dg.DagsterInstance, run_id: str) -> list[tuple[dg.DagsterEvent, float]]:
    return [
        (record.event_log_entry.dagster_event, record.timestamp)
        for record in instance.get_records_for_run(run_id).records
        if record.event_log_entry.dagster_event
        and record.event_log_entry.dagster_event.step_key == "verse_embeddings"
    ]


if __name__ == "__main__":
    main()
