"""The asset ``chunk_embeddings_index``: what a run decides, and when one starts automatically."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from rag_assets.defs.documents.assets import EMBEDDINGS
from rag_assets.defs.documents.partitions import DOCUMENTS
from rag_assets.index.checks import CHUNK_INDEX_CHECKS
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_text
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run
from rag_assets_tests.defs.releasing import RELEASE, release_lane, run_job, served
from rag_assets_tests.documents.corpus import publish_document, vouch_for_documents

pytestmark = pytest.mark.long

INDEX = "chunk_embeddings_index"
NOW = datetime(2026, 5, 4, 12, 1, tzinfo=UTC)


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    """Indexes from the first row on; the embedder is offline."""
    return release_lane(make_lane, rag_index_min_rows=1, rag_embedding_provider="offline")


def publish(lane: Lane, key: str, count: int = 40) -> None:
    """Publish a document and materialize its partition, as its run would."""
    publish_document(lane.corpus.database, lane.corpus.settings, key, sentences(count, word=key))
    lane.instance.add_dynamic_partitions(DOCUMENTS, [key])
    lane.instance.report_runless_asset_event(dg.AssetMaterialization(EMBEDDINGS, partition=key))


def release(lane: Lane) -> Run:
    return run_job(lane, "documents_release")


def vouched_release(lane: Lane) -> Run:
    """Release with recorded evidence instead of measuring for seconds."""
    assert run_job(lane, "documents_release", only=[INDEX]).success
    vouch_for_documents(lane.corpus.database, lane.corpus.settings)
    return run_job(lane, "documents_release", only=[RELEASE])


def test_without_documents_there_is_nothing_to_decide_and_nothing_fails(lane: Lane) -> None:
    job = dg.define_asset_job("index_alone", selection=dg.AssetSelection.assets(INDEX))
    defs = dg.Definitions.merge(lane.defs(), dg.Definitions(jobs=[job]))
    run = Run(defs.resolve_job_def("index_alone").execute_in_process(instance=lane.instance))
    assert run.metadata(INDEX)["decision"] == "none"
    assert set(run.checks()) == set(CHUNK_INDEX_CHECKS)
    assert run.failed_checks() == []


def test_documents_are_indexed_checked_and_released_in_one_run(lane: Lane) -> None:
    publish(lane, "pumps")
    run = release(lane)
    assert run.success
    told = run.metadata(INDEX)
    assert (told["decision"], told["generation"], told["lists"]) == ("build", 1, 4)
    assert "| chunk_embeddings_s1 (offline/" in told["tables"]
    assert set(run.checks()) == {*CHUNK_INDEX_CHECKS, *QUALITY_CHECKS}
    assert run.failed_checks() == []
    assert run.metadata(RELEASE)["documents_searched"] == "index generation 1"
    found = search_text(
        lane.corpus.database,
        lane.corpus.settings,
        "The pumps number 3 runs down to the sea before 10 days",
        SearchRequest(corpus="documents"),
    )
    assert found.plan.kind == "ivfflat"
    assert found.hits[0].text == "The pumps number 3 runs down to the sea before 10 days"


def test_a_wrong_vector_is_detected_and_refuses_the_release(lane: Lane) -> None:
    publish(lane, "pumps")
    with lane.corpus.database.connect() as connection:
        connection.execute(
            "UPDATE chunk_embeddings_s1 SET embedding = embedding * embedding"
            " WHERE chunk_id = (SELECT min(chunk_id) FROM document_chunks)"
        )
    run = release(lane)
    assert run.failed_checks() == ["finite_and_normalised"]
    assert run.materialized() == []

    refused = vouched_release(lane).failure(RELEASE)  # the index keeps that evidence itself
    assert "documents: finite_and_normalised: small: 1 " in refused.description
    assert served(lane) == []


class Ticks:
    """Evaluations of the automation sensor at given times."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._last: dg.EvaluateAutomationConditionsResult | None = None
        self.tick(NOW)

    def tick(self, at: datetime) -> set[str]:
        """Names of the assets that this evaluation requests."""
        self._last = dg.evaluate_automation_conditions(
            self._lane.defs(),
            instance=self._lane.instance,
            asset_selection=dg.AssetSelection.assets(INDEX, RELEASE),
            cursor=self._last.cursor if self._last else None,
            evaluation_time=at,
        )
        return {
            name for name in (INDEX, RELEASE) if self._last.get_num_requested(dg.AssetKey(name))
        }


def test_the_first_documents_start_it_immediately_and_later_ones_every_quarter_of_an_hour(
    lane: Lane,
) -> None:
    ticks = Ticks(lane)
    assert ticks.tick(NOW + timedelta(minutes=1)) == set(), "nothing happened"
    publish(lane, "pumps")
    assert ticks.tick(NOW + timedelta(minutes=2)) == {INDEX, RELEASE}
    assert vouched_release(lane).success
    assert ticks.tick(NOW + timedelta(minutes=3)) == set(), "once"
    publish(lane, "valves", 5)
    assert ticks.tick(NOW + timedelta(minutes=4)) == set(), "not for every document"
    assert ticks.tick(NOW + timedelta(minutes=15)) == {INDEX, RELEASE}
    assert vouched_release(lane).success
    assert ticks.tick(NOW + timedelta(minutes=16)) == set()
    assert ticks.tick(NOW + timedelta(minutes=31)) == set(), "nothing changed since"
    publish(lane, "hoses", 5)
    assert ticks.tick(NOW + timedelta(minutes=32)) == {INDEX, RELEASE}, "a quarter has passed"
