"""The deployed definitions: exact lists, and everything is described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg
import pytest
from dagster import Field

from rag_assets.definitions import build_defs, defs
from rag_assets.defs.bible.config import EmbeddingConfig
from rag_assets.defs.index.config import IndexConfig
from rag_assets.defs.release.assets import ReleaseConfig
from rag_assets.defs.resources import CorpusResource
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings, load_settings

BIBLE_ASSETS = ["verse_embeddings", "verses"]
DOCUMENT_ASSETS = ["document_chunks", "document_embeddings"]
ASSETS = sorted(
    [
        *BIBLE_ASSETS,
        *DOCUMENT_ASSETS,
        "capacity_report",
        "chunk_embeddings_index",
        "corpus_audit",
        "incident_report",
        "release",
        "retrieval_quality",
        "verse_embeddings_index",
    ]
)
BIBLE_JOBS = ["bible_embeddings", "bible_to_release", "bible_verses"]
JOBS = sorted(
    [
        *BIBLE_JOBS,
        "audit",
        "bible_embedding_plan",
        "capacity_record",
        "corpus_index",
        "corpus_release",
        "document_dead_letters",
        "document_processing",
        "document_upkeep",
        "documents_index",
        "documents_release",
        "incident_reports",
        "nightly_index",
    ]
)
CHECKS = ["completeness", "dimension_consistency", "finite_and_normalised", "freshness"]
INDEX_CHECKS = [
    "filtered_recall_at_10",
    "golden_queries",
    "index_valid_and_used",
    "recall_at_10",
    "retrieval_latency_slo",
]
CHUNK_INDEX_CHECKS = [name for name in INDEX_CHECKS if name != "golden_queries"]
SCHEDULES = [
    "daily_capacity",
    "document_upkeep_daily",
    "nightly_audit",
    "nightly_index",
    "weekend_backfill",
]
SENSORS = [
    "bible_version_folders",
    "document_inbox",
    "document_queue",
    "embedding_batches",
    "nightly_index_late",
    "queue_recovery",
    "release_automation",
]


def spec(name: str) -> dg.AssetSpec:
    """The asset as it is deployed."""
    (found,) = [one for one in defs.resolve_all_asset_specs() if one.key == dg.AssetKey(name)]
    return found


def test_the_deployed_assets_jobs_checks_and_sensors_are_these() -> None:
    repository = defs.get_repository_def()
    graph = defs.resolve_asset_graph()
    assert sorted(key.to_user_string() for key in graph.get_all_asset_keys()) == ASSETS
    checks = sorted((key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys)
    assert checks == [
        *(("chunk_embeddings_index", name) for name in CHUNK_INDEX_CHECKS),
        ("document_chunks", "document_readable"),
        *(("document_embeddings", name) for name in CHECKS),
        *(("verse_embeddings", name) for name in CHECKS),
        *(("verse_embeddings_index", name) for name in INDEX_CHECKS),
    ]
    assert sorted(name for name in repository.job_names if not name.startswith("__")) == JOBS
    assert sorted(sensor.name for sensor in repository.sensor_defs) == SENSORS
    assert sorted(schedule.name for schedule in repository.schedule_defs) == SCHEDULES
    assert defs.executor is dg.in_process_executor


def test_each_call_gives_fresh_definitions_with_the_resources_of_that_call() -> None:
    mine = CorpusResource(load_settings(), Database("dbname=none"))
    first, second = build_defs(resources={"corpus": mine}), build_defs()
    assert first is not second
    assert first.resources is not None
    assert second.resources is not None
    assert first.resources["corpus"] is mine
    assert second.resources["corpus"] is not mine
    assert set(first.resources) == set(second.resources) == {"corpus", "watched_corpus"}


@pytest.mark.parametrize("name", ASSETS)
def test_an_asset_explains_itself(name: str) -> None:
    asset = spec(name)
    assert asset.description is not None
    assert len(asset.description.split()) > 20
    assert list(asset.owners) == ["team:corpus"]
    assert asset.code_version == "1"
    assert "postgres" in asset.kinds


@pytest.mark.parametrize("name", BIBLE_ASSETS)
def test_an_asset_of_the_bible_lane_names_its_table_and_is_partitioned_by_version(
    name: str,
) -> None:
    asset = spec(name)
    assert asset.group_name == "bible"
    assert asset.tags["corpus"] == "bible"
    assert asset.metadata["dagster/table_name"] == name
    schema = asset.metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    assert len(schema.columns) >= 8
    assert asset.partitions_def == dg.DynamicPartitionsDefinition(name="bible_version")


def test_vectors_depend_on_verses_and_say_what_they_cost() -> None:
    asset = spec("verse_embeddings")
    assert [dep.asset_key for dep in asset.deps] == [dg.AssetKey("verses")]
    assert asset.tags["costs"] == "tokens"
    assert asset.kinds == {"openai", "postgres", "pgvector"}


@pytest.mark.parametrize(
    ("name", "group", "upstream", "when"),
    [
        (
            "verse_embeddings_index",
            "index",
            ["verse_embeddings"],
            "none is in progress, and the backfill has none left in its window",
        ),
        ("chunk_embeddings_index", "index", ["document_embeddings"], "then every 15 min"),
        (
            "release",
            "release",
            ["chunk_embeddings_index", "retrieval_quality", "verse_embeddings_index"],
            "none is in progress",
        ),
    ],
)
def test_index_and_release_have_no_partitions_and_start_automatically(
    name: str, group: str, upstream: list[str], when: str
) -> None:
    asset = spec(name)
    assert asset.group_name == group
    assert asset.partitions_def is None
    assert sorted(dep.asset_key.to_user_string() for dep in asset.deps) == upstream
    assert asset.automation_condition is not None
    label = asset.automation_condition.get_label()
    assert label is not None
    assert label.endswith(when)


@pytest.mark.parametrize("name", INDEX_CHECKS)
def test_a_check_of_the_index_is_described_and_blocking_and_not_partitioned(name: str) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("verse_embeddings_index"), name)
    check = defs.resolve_asset_graph().get_check_spec(key)
    assert check.description
    assert check.description.endswith(".")
    assert check.blocking
    assert check.partitions_def is None


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_is_described_blocking_and_partitioned(name: str) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("verse_embeddings"), name)
    check = defs.resolve_asset_graph().get_check_spec(key)
    assert check.description
    assert check.description.endswith(".")
    assert check.blocking
    assert check.partitions_def == dg.DynamicPartitionsDefinition(name="bible_version")


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_described_and_partitioned_by_what_it_processes(name: str) -> None:
    job = defs.resolve_job_def(name)
    assert job.description
    partitioned = dict.fromkeys(BIBLE_JOBS, "bible_version") | {
        "document_processing": "documents",
        "incident_reports": "incidents",
    }
    expected: dg.PartitionsDefinition[str] | None = None
    if name in partitioned:
        expected = dg.DynamicPartitionsDefinition(name=partitioned[name])
    elif name == "capacity_record":
        expected = dg.DailyPartitionsDefinition(start_date="2026-11-01", end_offset=2)
    assert job.partitions_def == expected


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_described_and_runs_from_the_start(name: str) -> None:
    schedule = defs.resolve_schedule_def(name)
    assert schedule.description
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_sensor_is_described_and_runs_from_the_start_every_ten_seconds() -> None:
    sensor = defs.resolve_sensor_def("bible_version_folders")
    assert sensor.description is not None
    assert "RAG_BIBLES_DIR" in sensor.description
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 10


def test_the_automation_is_described_and_runs_from_the_start() -> None:
    sensor = defs.resolve_sensor_def("release_automation")
    assert sensor.description is not None
    assert "Stop it to release by hand" in sensor.description
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def config_fields() -> Iterator[tuple[str, str, Field]]:
    """Every launchpad option of every job: (op, option, field)."""
    for name in JOBS:
        for node in defs.resolve_job_def(name).graph.node_defs:
            shape = node.config_field.config_type if node.config_field else None
            fields: Mapping[str, Field] = getattr(shape, "fields", {})
            for entry, field in fields.items():
                yield node.name, entry, field


def test_every_launchpad_option_has_a_description() -> None:
    entries = {(op, entry): field.description for op, entry, field in config_fields()}
    assert {entry for op, entry in entries if op == "verse_embeddings"} == set(
        EmbeddingConfig.model_fields
    )
    assert {entry for op, entry in entries if op == "plan_bible_embeddings"} == {
        "versions",
        "overwrite",
    }
    assert {entry for op, entry in entries if op == "verse_embeddings_index"} == set(
        IndexConfig.model_fields
    )
    assert {entry for op, entry in entries if op == "release"} == set(ReleaseConfig.model_fields)
    assert [entry for entry, description in entries.items() if not description] == []


def test_the_launchpad_names_the_setting_and_its_default_for_each_empty_entry() -> None:
    settings = {
        "batch_size": ("rag_embedding_batch_size", "32"),
        "sleep": ("rag_embedding_delay_ms", "0"),
        "max_retries": ("rag_embedding_max_retries", "5"),
        "timeout": ("rag_embedding_timeout_s", "60"),
    }
    for entry, (setting, default) in settings.items():
        assert str(Settings.model_fields[setting].default) == default
        description = EmbeddingConfig.model_fields[entry].description
        assert description is not None
        assert f"Setting: {setting.upper()} ({default})." in description
    memory = Settings.model_fields["rag_index_maintenance_work_mem"].default
    assert f"({memory})." in str(IndexConfig.model_fields["maintenance_work_mem"].description)
    assert Settings.model_fields["rag_release_leave_out_failing"].default is False
    assert "(false: the whole release is refused)." in str(
        ReleaseConfig.model_fields["leave_out_failing"].description
    )
