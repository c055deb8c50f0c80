"""Every ready document shows as materialized in Dagster, whatever happened to its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from rag_assets.defs.documents.reporting import RunReport, report_published
from rag_assets.defs.resources import CorpusResource, open_corpus
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.defs.document_lane import ASSETS, DocumentLane, events_of

TEXTS = {f"{name}.md": f"# {name}\n\nText of {name}.\n" for name in ("a", "b", "c")}
READY = set(TEXTS)


@pytest.fixture
def lane(
    openai_settings: MakeSettings, database: Database, instance: dg.DagsterInstance, tmp_path: Path
) -> DocumentLane:
    (tmp_path / "inbox").mkdir()
    settings = openai_settings(rag_documents_url=str(tmp_path / "inbox"), rag_documents_settle_s=0)
    made = DocumentLane(CorpusResource(settings, database), instance)
    for name, text in TEXTS.items():
        made.drop(name, text)
    return made


def forget_run(lane: DocumentLane) -> None:
    """Simulate a killed run: its documents are ready and unreported."""
    lane.work()
    for run in lane.instance.get_runs():
        lane.instance.delete_run(run.run_id)
    unmark(lane)
    assert not any(lane.instance.get_materialized_partitions(dg.AssetKey(one)) for one in ASSETS)


def unmark(lane: DocumentLane) -> None:
    """Simulate an upgrade, or a run killed before it could record its reports."""
    with lane.corpus.database.connect() as connection:
        connection.execute("UPDATE documents SET reported_run = NULL")


def catch_up(lane: DocumentLane) -> int:
    return report_published(lane.instance, lane.corpus.database, patience_s=60)


def events(lane: DocumentLane) -> Counter[str]:
    """Materializations of both assets, by document."""
    return events_of(lane.instance)


def test_a_run_reports_what_it_publishes_once_and_leaves_nothing_to_report(
    lane: DocumentLane,
) -> None:
    lane.work()
    assert lane.rows(
        "SELECT count(*) FROM documents WHERE reported_run IS DISTINCT FROM run_id"
    ) == [(0,)]
    assert catch_up(lane) == 0
    assert events(lane) == Counter(dict.fromkeys(READY, 2))


def test_the_next_run_reports_what_was_published_and_not_reported(lane: DocumentLane) -> None:
    forget_run(lane)
    before = dict(lane.rows("SELECT document_key, run_id FROM documents"))
    lane.drop("d.md", "# d\n\nText of d.\n")
    assert [run.success for run in lane.work()] == [True]
    for asset in ASSETS:
        assert lane.reads(asset) == (READY | {"d.md"}, set())
    shown = lane.shown("document_embeddings")
    assert {key: shown[key]["published_by_run"] for key in READY} == before
    assert all(shown[key]["tokens"] > 0 for key in READY)
    assert all("embedded" not in shown[key] for key in READY), "that is not known any more"
    assert catch_up(lane) == 0
    assert events(lane) == Counter(dict.fromkeys(READY | {"d.md"}, 2))


def be_killed_before_reporting() -> None:
    """A run in this process, whose settings are in the environment, killed at that moment."""
    RunReport.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    lane = DocumentLane(open_corpus(), dg.DagsterInstance.ephemeral())
    lane.work()


@pytest.mark.slow
def test_what_a_killed_run_published_and_did_not_report_is_reported_by_the_next(
    lane: DocumentLane,
) -> None:
    settings = lane.corpus.settings
    assert settings.openai_api_key is not None
    killed = subprocess.run(
        [sys.executable, "-c", f"import {__name__} as it; it.be_killed_before_reporting()"],
        env={
            **os.environ,
            "RAG_DATABASE_URL": lane.corpus.database.conninfo,
            "RAG_DOCUMENTS_URL": settings.rag_documents_url,
            "RAG_DOCUMENTS_SETTLE_S": "0",
            "OPENAI_BASE_URL": str(settings.openai_base_url),
            "OPENAI_API_KEY": settings.openai_api_key.get_secret_value(),
        },
        check=False,
        stderr=subprocess.PIPE,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert lane.rows("SELECT true FROM documents WHERE state = 'ready' LIMIT 1") == [(True,)]
    lane.drop("d.md", "# d\n\nText of d.\n")
    assert [run.success for run in lane.work()] == [True]
    for asset in ASSETS:
        assert lane.reads(asset)[0] == READY | {"d.md"}
    assert events(lane) == Counter(dict.fromkeys(READY | {"d.md"}, 2))


def test_documents_that_dagster_already_shows_are_not_reported_again(lane: DocumentLane) -> None:
    lane.work()
    unmark(lane)
    assert catch_up(lane) == 0
    assert events(lane) == Counter(dict.fromkeys(READY, 2))
    assert lane.rows("SELECT count(*) FROM documents WHERE reported_run = run_id") == [(3,)]


def test_documents_reported_late_are_not_reported_again(lane: DocumentLane) -> None:
    forget_run(lane)
    assert catch_up(lane) == 3
    unmark(lane)
    assert catch_up(lane) == 0
    assert events(lane) == Counter(dict.fromkeys(READY, 2))


def test_a_document_reported_for_one_asset_only_gets_the_other(lane: DocumentLane) -> None:
    forget_run(lane)
    ((run_id,),) = lane.rows("SELECT run_id FROM documents WHERE document_key = 'a.md'")
    lane.instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "document_chunks", partition="a.md", metadata={"published_by_run": run_id}
        )
    )
    assert catch_up(lane) == 3
    assert events(lane) == Counter(dict.fromkeys(READY, 2))


def test_withdrawn_and_dead_documents_are_not_reported(lane: DocumentLane) -> None:
    lane.drop("empty.md", "")
    forget_run(lane)
    (lane.inbox / "b.md").unlink()
    lane.scan()
    assert catch_up(lane) == 2
    for asset in ASSETS:
        assert lane.reads(asset)[0] == {"a.md", "c.md"}
    assert set(events(lane)) == {"a.md", "c.md"}


def test_documents_published_by_a_run_under_way_are_left_to_it(lane: DocumentLane) -> None:
    forget_run(lane)
    ((run_id,),) = lane.rows("SELECT DISTINCT run_id FROM documents")
    at_work = dg.DagsterRun(
        "document_processing", run_id=run_id, status=dg.DagsterRunStatus.STARTED
    )
    lane.instance.add_run(at_work)
    assert catch_up(lane) == 0
    lane.instance.report_run_failed(at_work)
    assert catch_up(lane) == 3
    assert events(lane) == Counter(dict.fromkeys(READY, 2))
