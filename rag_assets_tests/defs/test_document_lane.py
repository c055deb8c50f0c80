"""The document lane as a data engineer sees it: partitions, outcomes, lanes, dead letters."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from openai_emulator.process import Emulator
from rag_assets.definitions import build_defs
from rag_assets.defs.documents.readable import READABLE
from rag_assets.defs.documents.sensors import LaneRuns, document_queue
from rag_assets.defs.resources import CorpusResource
from rag_assets.documents.sql.lanes import pause_lane, resume_lane
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.defs.document_lane import ASSETS, DocumentLane

GOOD = "# Bridges\n\nA bridge carries a road over a river.\n\n## Arches\n\nAn arch is pressed.\n"
OTHER = "# Pontes\n\nUma ponte leva a estrada por cima do rio.\n"


@pytest.fixture
def documents_lane(
    openai_settings: MakeSettings,
    database: Database,
    instance: dg.DagsterInstance,
    tmp_path: Path,
) -> DocumentLane:
    settings = openai_settings(
        rag_documents_url=str(tmp_path / "inbox"),
        rag_documents_settle_s=0,
        rag_large_document_mb=0.01,
        rag_large_document_nice=0,  # the run is in the test's own process
    )
    (tmp_path / "inbox").mkdir()
    return DocumentLane(CorpusResource(settings, database), instance)


def test_dropped_documents_become_partitions_with_their_outcome(
    documents_lane: DocumentLane, emulator: Emulator
) -> None:
    lane = documents_lane
    lane.drop("bridges.md", GOOD)
    lane.drop("pt/pontes.md", OTHER)
    lane.drop("empty.md", "")
    (run,) = lane.work()
    good = {"bridges.md", "pt__pontes.md"}
    assert set(lane.partitions()) == good | {"empty.md"}
    for asset in ASSETS:
        assert lane.reads(asset) == (good, set())
    assert run.success
    assert lane.rows("SELECT document_key, error_class FROM rag_dlq") == [
        ("empty.md", "EmptyDocumentError")
    ]
    assert (
        lane.rows("SELECT count(*) FROM chunk_embeddings")[0][0] == emulator.stats().inputs_answered
    )
    assert lane.shown("document_chunks")["bridges.md"]["title"] == "Bridges"
    assert lane.shown("document_embeddings")["bridges.md"]["tokens"] > 0


def test_a_partition_shows_what_is_not_in_the_document_s_text(documents_lane: DocumentLane) -> None:
    lane = documents_lane
    lane.drop("page.html", "<p>A bridge.</p><nav>Home</nav><p hidden>Secret</p>")
    lane.work()
    shown = lane.shown("document_chunks")["page.html"]
    assert (shown["characters"], shown["replaced_characters"], shown["losses"]) == (9, 0, 0)
    assert shown["report"] == (
        "- left out: navigation (1): Home\n- left out: hidden element (1): Secret"
    )


def test_unchanged_documents_start_no_runs_and_cost_nothing(
    documents_lane: DocumentLane, emulator: Emulator
) -> None:
    lane = documents_lane
    lane.drop("bridges.md", GOOD)
    lane.work()
    bought = emulator.stats().inputs_answered
    assert lane.scan().skip_message == "nothing new in the inbox"
    assert lane.requests() == []
    assert lane.run(partition_key="bridges.md").success
    assert emulator.stats().inputs_answered == bought
    lane.drop("bridges.md", GOOD + "\n## Cables\n\nA cable hangs.\n")
    (run,) = lane.work()
    assert run.success
    assert emulator.stats().inputs_answered > bought


def test_a_large_document_has_a_lane_and_a_run_to_itself(documents_lane: DocumentLane) -> None:
    lane = documents_lane
    lane.drop("bridges.md", GOOD)
    for number in range(2):
        lane.drop(f"large-{number}.md", "# Large\n\n" + f"Sentence {number} of many. " * 600)
    lane.scan()
    requests = lane.requests()
    assert [request.tags["rag/lane"] for request in requests] == [
        "rag_processing",
        "rag_large_docs",
    ]
    small, large = (lane.obey(request) for request in requests)
    assert small.success
    assert large.success
    assert lane.reads("document_embeddings")[0] >= {"bridges.md"}
    states = dict(lane.rows("SELECT document_key, state FROM documents"))
    assert sorted(states.values()) == ["ready", "ready", "waiting"]
    assert states["bridges.md"] == "ready"


def test_a_range_of_partitions_is_one_run_and_a_bad_one_does_not_affect_the_others(
    documents_lane: DocumentLane,
) -> None:
    lane = documents_lane
    for name, text in (("a.md", GOOD), ("b.md", ""), ("c.md", OTHER)):
        lane.drop(name, text)
        lane.scan()
    run = lane.run(
        tags={
            "dagster/asset_partition_range_start": "a.md",
            "dagster/asset_partition_range_end": "c.md",
        }
    )
    assert run.success
    for asset in ASSETS:
        assert lane.reads(asset) == ({"a.md", "c.md"}, set())
    assert checked(lane) == ({"b.md"}, set())


def checked(lane: DocumentLane) -> tuple[set[str], set[str]]:
    """Partitions whose check `document_readable` reads as failed, and as passed."""
    found = lane.instance.event_log_storage.get_asset_check_partition_info([READABLE])
    by_status: dict[str, set[str]] = {"FAILED": set(), "SUCCEEDED": set()}
    for info in found:
        if info.is_current:  # else the partition reads as not checked
            by_status[info.latest_execution_status.value].add(str(info.partition_key))
    return by_status["FAILED"], by_status["SUCCEEDED"]


def test_a_run_with_five_unreadable_documents_succeeds_and_names_them(
    documents_lane: DocumentLane,
) -> None:
    lane = documents_lane
    for number in range(47):
        lane.drop(f"good-{number}.md", f"# Good {number}\n\nBridge {number}.")
    bad = {f"bad-{number}.pdf" for number in range(5)}
    for name in bad:
        lane.drop(name, b"%PDF-1.7\n" + bytes(range(256)) * 9)
    (run,) = lane.work()
    assert run.success
    assert checked(lane) == (bad, set())
    (record,) = lane.instance.fetch_observations(dg.AssetKey("document_chunks"), limit=5).records
    observed = record.asset_observation
    assert observed is not None
    shown = {name: value.value for name, value in observed.metadata.items()}
    assert (shown["ready"], shown["rejected"], shown["dead"]) == (47, 5, 5)
    lines = str(shown["rejected_documents"]).splitlines()
    assert {line.split(": ")[0].removeprefix("- ") for line in lines} == bad
    for line in lines:
        assert ": CorruptDocumentError: " in line
        assert line.count("bad-") == 1
    (ended,) = lane.instance.get_runs(limit=1)
    assert (ended.tags["rag/ready"], ended.tags["rag/rejected"]) == ("47", "5")
    found = lane.instance.event_log_storage.get_asset_check_execution_history(READABLE, limit=1)
    evaluation = found[0].evaluation
    assert evaluation is not None
    assert "damaged" in str(evaluation.description)


def test_a_document_that_is_put_right_passes_and_one_that_becomes_bad_fails(
    documents_lane: DocumentLane,
) -> None:
    lane = documents_lane
    lane.drop("a.md", "")
    lane.drop("b.md", OTHER)
    lane.work()
    assert checked(lane) == ({"a.md"}, set())
    lane.drop("a.md", GOOD)
    lane.drop("b.md", "")
    lane.work()
    assert checked(lane) == ({"b.md"}, {"a.md"})
    for asset in ASSETS:  # what was ready before is served until the file is put right
        assert lane.reads(asset) == ({"a.md", "b.md"}, set())


def test_a_fault_of_the_system_fails_the_run_and_no_check(documents_lane: DocumentLane) -> None:
    lane = documents_lane
    lane.drop("a.md", GOOD)
    lane.drop("b.md", OTHER)
    lane.scan()
    (lane.inbox / "b.md").unlink()
    (run,) = [lane.obey(request) for request in lane.requests()]
    assert not run.success
    assert "b.md" in run.failure("document_lane").description
    assert checked(lane) == (set(), set())
    assert lane.reads("document_chunks") == ({"a.md"}, {"b.md"})


def test_the_check_can_be_run_again_for_a_range(documents_lane: DocumentLane) -> None:
    lane = documents_lane
    for name, text in (("a.md", GOOD), ("b.md", ""), ("c.md", OTHER)):
        lane.drop(name, text)
        lane.scan()
    lane.work()
    selection = dg.AssetSelection.checks(READABLE)
    definitions = dg.Definitions.merge(
        build_defs(resources={"corpus": lane.corpus}),
        dg.Definitions(jobs=[dg.define_asset_job("check_again", selection=selection)]),
    )
    run = definitions.resolve_job_def("check_again").execute_in_process(
        instance=lane.instance,
        tags={
            "dagster/asset_partition_range_start": "a.md",
            "dagster/asset_partition_range_end": "c.md",
        },
    )
    assert run.success
    assert checked(lane) == ({"b.md"}, {"a.md", "c.md"})


def test_dead_letters_are_put_back_by_a_job(documents_lane: DocumentLane) -> None:
    lane = documents_lane
    lane.drop("empty.md", "")
    lane.work()
    job = build_defs(resources={"corpus": lane.corpus}).resolve_job_def("document_dead_letters")

    def put_back(**config: object) -> bool:
        return job.execute_in_process(
            instance=lane.instance,
            run_config={"ops": {"put_dead_letters_back": {"config": config}}},
            raise_on_error=False,
        ).success

    for config in ({}, {"everything": True, "error_class": "EmptyDocumentError"}):
        assert not put_back(**config), "the run fails in its first step"
    assert lane.rows("SELECT count(*) FROM rag_dlq") == [(1,)]
    assert put_back(error_class="EmptyDocumentError")
    assert lane.rows("SELECT state FROM documents") == [("waiting",)]
    (run,) = [lane.obey(request) for request in lane.requests()]
    assert run.success
    assert lane.rows("SELECT state FROM documents") == [("dead",)]
    assert put_back(everything=True)


def test_documents_withdrawn_long_ago_are_deleted_with_their_partitions(
    documents_lane: DocumentLane,
) -> None:
    lane = documents_lane
    lane.drop("bridges.md", GOOD)
    lane.drop("pontes.md", OTHER)
    lane.work()
    (lane.inbox / "pontes.md").unlink()
    lane.scan()
    assert _upkeep(lane)
    assert lane.partitions() == ["bridges.md", "pontes.md"]
    with lane.corpus.database.connect() as connection:
        connection.execute(
            "UPDATE documents SET withdrawn_at = now() - interval '31 days'"
            " WHERE state = 'withdrawn'"
        )
    assert _upkeep(lane)
    assert lane.partitions() == ["bridges.md"]
    assert lane.rows("SELECT document_key FROM documents") == [("bridges.md",)]


def _upkeep(lane: DocumentLane) -> bool:
    job = build_defs(resources={"corpus": lane.corpus}).resolve_job_def("document_upkeep")
    return job.execute_in_process(instance=lane.instance, raise_on_error=False).success


def test_a_paused_lane_starts_nothing_and_says_why(documents_lane: DocumentLane) -> None:
    lane = documents_lane
    lane.drop("bridges.md", GOOD)
    lane.scan()
    with lane.corpus.database.connect() as connection:
        pause_lane(connection, "rag_processing", "the disk is being changed", "command")
    assert lane.requests() == []
    context = dg.build_sensor_context(instance=lane.instance, resources={"corpus": lane.corpus})
    assert "1 waiting, 0 runs, paused: the disk is being changed" in str(
        document_queue.evaluate_tick(context).skip_message
    )
    with lane.corpus.database.connect() as connection:
        assert resume_lane(connection, "rag_processing", "command")
    assert len(lane.requests()) == 1


def test_the_checks_evaluate_all_documents_and_store_evidence(documents_lane: DocumentLane) -> None:
    lane = documents_lane
    lane.drop("bridges.md", GOOD)
    lane.work()
    assert _judged(lane) == {}
    ((table,),) = lane.rows("SELECT 'chunk_embeddings_s' || min(space_id) FROM embedding_spaces")
    with lane.corpus.database.connect() as connection:
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    assert list(_judged(lane)) == ["completeness"]
    assert lane.rows(
        "SELECT check_name FROM check_results WHERE subject = 'documents' AND NOT passed"
    ) == [("completeness",)]


def _judged(lane: DocumentLane) -> dict[str, str]:
    """The checks that fail, with what they say."""
    job = build_defs(resources={"corpus": lane.corpus}).resolve_job_def("documents_index")
    result = job.execute_in_process(instance=lane.instance, raise_on_error=False)
    evaluations = [
        one
        for one in result.get_asset_check_evaluations()
        if one.asset_key == dg.AssetKey("document_embeddings")
    ]
    assert len(evaluations) == 4
    return {one.check_name: str(one.description) for one in evaluations if not one.passed}


@given(
    waiting=st.integers(0, 5000),
    runs=st.integers(0, 5),
    max_runs=st.integers(1, 5),
    batch=st.integers(1, 500),
)
def test_a_lane_never_gets_more_runs_than_allowed_or_needed(
    waiting: int, runs: int, max_runs: int, batch: int
) -> None:
    wanted = LaneRuns("rag_processing", waiting, runs, max_runs, batch).wanted
    assert wanted >= 0
    if wanted:
        assert runs + wanted <= max_runs
        assert (runs + wanted - 1) * batch < waiting
    elif waiting:
        assert runs >= min(max_runs, -(-waiting // batch))
