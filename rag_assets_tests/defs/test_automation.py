"""The automation starts index and release when vectors changed and no run is under way."""

from __future__ import annotations

import time
from dataclasses import replace

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType
from dagster._daemon.daemon import SchedulerDaemon, SensorDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.types import DaemonHeartbeat

from rag_assets.defs.index import backfill_window
from rag_assets.operations.automation import automation_now
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane
from rag_assets_tests.defs.releasing import INDEX, RELEASE, release_lane, run_job, served

BOTH = {INDEX, RELEASE}


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return release_lane(make_lane)


def embed(lane: Lane, code: str, *, limit: int | None = None) -> None:
    lane.drop(code, sentences(20, word=code))
    config: dict[str, object] = {"small_only": True}
    lane.run(code, config=config | ({"limit": limit} if limit else {}))


class Ticks:
    """The automation sensor's evaluations, one after the other."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._last: dg.EvaluateAutomationConditionsResult | None = None
        self.first = self.tick()  # asks for nothing if the index was never decided on

    def tick(self) -> set[str]:
        """Names of the assets that this evaluation requests."""
        self._last = dg.evaluate_automation_conditions(
            self._lane.defs(),
            instance=self._lane.instance,
            asset_selection=dg.AssetSelection.assets(INDEX, RELEASE),
            cursor=self._last.cursor if self._last else None,
        )
        return {name for name in BOTH if self._last.get_num_requested(dg.AssetKey(name))}


def test_new_vectors_request_the_index_and_the_release_in_one_run(lane: Lane) -> None:
    ticks = Ticks(lane)
    assert ticks.tick() == set(), "nothing happened"
    embed(lane, "EN_A")
    assert ticks.tick() == BOTH
    assert run_job(lane, "corpus_release").success
    assert ticks.tick() == set(), "once"
    assert served(lane) == ["EN_A"]
    embed(lane, "EN_B")
    assert ticks.tick() == BOTH
    restarted = Ticks(lane)
    assert restarted.first == BOTH, "as a refusal says, which knows nothing of ticks"
    assert run_job(lane, "corpus_release").success
    assert restarted.tick() == Ticks(lane).first == set()


def test_several_versions_between_two_ticks_are_one_release(lane: Lane) -> None:
    ticks = Ticks(lane)
    for code in ("EN_A", "EN_B", "EN_C"):
        embed(lane, code)
    assert ticks.tick() == BOTH
    assert run_job(lane, "corpus_release").success
    assert served(lane) == ["EN_A", "EN_B", "EN_C"]
    assert ticks.tick() == set()


def test_while_the_backfill_has_versions_due_nothing_is_built_between_its_runs(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Ticks(lane)
    with monkeypatch.context() as open_window:
        open_window.setattr(backfill_window, "due_now", lambda: True)
        for code in ("EN_A", "EN_B"):
            embed(lane, code)
            assert ticks.tick() == set()
    assert ticks.tick() == BOTH
    assert run_job(lane, "corpus_release").success
    assert served(lane) == ["EN_A", "EN_B"]
    assert ticks.tick() == set()


def test_a_bad_version_starts_the_release_and_the_gate_refuses_it(lane: Lane) -> None:
    ticks = Ticks(lane)
    embed(lane, "EN_BAD", limit=5)
    assert ticks.tick() == BOTH
    run = run_job(lane, "corpus_release")
    assert "EN_BAD: completeness" in run.failure(RELEASE).description
    assert served(lane) == []
    assert ticks.tick() == set(), "and not again until something changed"


@pytest.mark.slow
def test_a_refusal_knows_that_the_automation_will_start_another_run(
    make_lane: MakeLane, instance_beside: dg.DagsterInstance
) -> None:
    lane = replace(release_lane(make_lane, rag_dagster_database=None), instance=instance_beside)
    embed(lane, "EN_A")
    assert run_job(lane, "corpus_release").success
    now = automation_now(lane.corpus.settings)
    assert (now.due, now.alive, now.automatic) == ((), False, False)
    embed(lane, "EN_B")
    for part in (SensorDaemon, SchedulerDaemon, QueuedRunCoordinatorDaemon):
        heartbeat = DaemonHeartbeat(time.time(), part.daemon_type(), "a", [])
        instance_beside.add_daemon_heartbeat(heartbeat)
    now = automation_now(lane.corpus.settings)
    assert (now.due, now.alive, now.automatic) == ((INDEX,), True, True)
    location = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("rag_assets"), "__repository__")
    origin = RemoteInstigatorOrigin(location, "release_automation")
    instance_beside.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED)
    )
    assert not automation_now(lane.corpus.settings).automatic, "an operator stopped it"
    assert run_job(lane, "corpus_index").success
    assert automation_now(lane.corpus.settings).due == ()
