"""The automation waits while a version is being embedded or not yet checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import dagster as dg
import pytest

from rag_assets.defs.resources import CorpusResource
from rag_assets.postgres import locks
from rag_assets.vectors.sql.spaces import find_space
from rag_assets_tests.api.server import wait_until
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run
from rag_assets_tests.defs.releasing import (
    INDEX,
    NO_LOG_CAPTURE,
    RELEASE,
    release_lane,
    run_job,
    served,
)

SMALL = {"small_only": True}
PATIENCE_S = 60


class Told:
    """Progress that records when a run waits for another, and acts once the index is checked."""

    def __init__(self) -> None:
        self.waiting = Event()
        self.while_checking: list[Callable[[], object]] = []

    def start(self, task: str, total: int) -> None: ...

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None:
        if "waiting for it" in message:
            self.waiting.set()
        if "checking" in message and self.while_checking:
            self.while_checking.pop()()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def lane(make_lane: MakeLane, told: Told, tmp_path: Path) -> Iterator[Lane]:
    """A lane whose Dagster state may be used by several threads."""
    made = release_lane(make_lane)
    with dg.DagsterInstance.local_temp(str(tmp_path), NO_LOG_CAPTURE) as instance:
        yield Lane(CorpusResource(made.corpus.settings, made.corpus.database, told), instance)


def ticks(lane: Lane) -> Callable[[], set[str]]:
    """The automation sensor's evaluations: each call gives the assets that one asks for."""
    selection = dg.AssetSelection.assets(INDEX, RELEASE)
    last: list[dg.EvaluateAutomationConditionsResult] = []

    def tick() -> set[str]:
        result = dg.evaluate_automation_conditions(
            lane.defs(),
            instance=lane.instance,
            asset_selection=selection,
            cursor=last[-1].cursor if last else None,
        )
        last.append(result)
        return {name for name in (INDEX, RELEASE) if result.get_num_requested(dg.AssetKey(name))}

    tick()  # the first sees what there is, and asks for nothing that happened before it
    return tick


@contextmanager
def embedding(lane: Lane, code: str) -> Iterator[Future[Run]]:
    """A run of a version in its own thread."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(lane.run, code, config=SMALL)


@pytest.mark.slow
def test_while_one_version_is_embedded_another_starts_nothing_and_then_both_are_released(
    lane: Lane, told: Told
) -> None:
    lane.drop("EN_A", sentences(5, word="a"))
    lane.drop("EN_B", sentences(5, word="b"))
    assert lane.run("EN_A", config=SMALL).success
    tick = ticks(lane)
    with lane.corpus.database.connect(autocommit=True) as other:
        space = find_space(other, lane.corpus.settings, "small")
        assert space is not None
        assert locks.try_lock_session(other, locks.publishing_version(space.space_id, "EN_A"))
        with embedding(lane, "EN_A") as run:
            try:
                assert told.waiting.wait(PATIENCE_S)
                assert lane.run("EN_B", config=SMALL).success
                assert tick() == set()
                assert tick() == set()
            finally:
                other.close()
            assert run.result(PATIENCE_S).success
    assert tick() == {INDEX, RELEASE}
    assert run_job(lane, "corpus_release").success
    assert served(lane) == ["EN_A", "EN_B"]
    assert tick() == set()


@pytest.mark.slow
def test_vectors_that_are_not_checked_yet_start_nothing(lane: Lane) -> None:
    lane.drop("EN_A", sentences(5))
    tick = ticks(lane)
    with lane.corpus.database.connect(autocommit=True) as look:

        def checks_wait() -> bool:
            row = look.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass",
                ("check_results",),
            ).fetchone()
            return row is not None and row[0] > 0

        with lane.corpus.database.connect() as holder:
            holder.execute("LOCK TABLE check_results IN ACCESS EXCLUSIVE MODE")
            with embedding(lane, "EN_A") as run:
                try:
                    wait_until(checks_wait, seconds=PATIENCE_S)
                    event = lane.instance.get_latest_materialization_event(
                        dg.AssetKey("verse_embeddings")
                    )
                    assert event is not None
                    early = tick() | tick()
                finally:
                    holder.rollback()
                assert run.result(PATIENCE_S).success
    assert early == set()
    assert tick() == {INDEX, RELEASE}
    assert run_job(lane, "corpus_release").success
    assert tick() == set()


@pytest.mark.slow
@pytest.mark.parametrize("ticks_meanwhile", [0, 1])
def test_a_version_published_during_a_run_of_the_index_is_released_by_the_next(
    lane: Lane, told: Told, ticks_meanwhile: int
) -> None:
    """Once, also if the release is refused, and whether or not a tick fell into the run."""
    lane.drop("EN_A", sentences(5, word="a"))
    lane.drop("EN_B", sentences(5, word="b"))
    tick = ticks(lane)
    assert lane.run("EN_A", config=SMALL).success
    assert tick() == {INDEX, RELEASE}

    def publish() -> None:
        with embedding(lane, "EN_B") as run:
            assert run.result(PATIENCE_S).success
        for _ in range(ticks_meanwhile):
            assert tick() == set()

    told.while_checking.append(publish)
    refused = run_job(lane, "corpus_release")
    assert "changed since it was" in refused.failure(RELEASE).description
    assert tick() == {INDEX, RELEASE}
    assert tick() == set()
    assert run_job(lane, "corpus_release").success
    assert served(lane) == ["EN_A", "EN_B"]
    assert tick() == tick() == set()
