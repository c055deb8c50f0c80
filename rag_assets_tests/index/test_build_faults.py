"""A build that is killed or interrupted: the old index serves, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

from rag_assets.errors import DatabaseUnavailableError, RagAssetsError
from rag_assets.index.maintain import IndexOutcome, IndexRequest
from rag_assets.index.measuring import target_of
from rag_assets.index.policy import IndexAction
from rag_assets.index.sql.builds import build_progress
from rag_assets.index.sql.explained import indexes_used
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.retrieval.plan import choose_plan
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import (
    DIMENSIONS,
    Heard,
    clustered,
    copy_rows,
    filled_table,
    generation_states,
    index_names,
    index_settings,
    maintained,
)
from rag_assets_tests.index.processes import maintain_in_process
from rag_assets_tests.vectors.vectors import space_of

pytestmark = pytest.mark.long

ROWS = 20_000
LONG = 3000
"""So many lists that the server takes some seconds to build them."""
SHORT = 4
QUERIES = clustered(20, seed=9)
OLD, DEAD = "verse_embeddings_s1_ivf_g1", "verse_embeddings_s1_ivf_g2"


@dataclass(frozen=True)
class Site:
    """A table whose next build takes long, served by generation 1."""

    database: Database
    settings: Settings
    table: VectorTable
    old: IndexOutcome

    def maintained(self, lists: int = SHORT, progress: Heard | None = None) -> IndexOutcome:
        return maintained(
            self.database,
            self.settings,
            self.table,
            lists=lists,
            progress=progress,
            queries=QUERIES,
        )

    def search(self) -> None:
        """One search through the served generation while another is built."""
        target = target_of(self.table, {"EN_A": ROWS}, self.old.generation, None)
        plan = choose_plan(target, ["EN_A"], exact_rows=0)
        with self.database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            found = nearest(connection, self.table, plan, QUERIES[0], top_k=10, scopes=["EN_A"])
            used = indexes_used(connection, self.table, plan, QUERIES[0], top_k=10, scopes=["EN_A"])
        assert len(found) == 10
        assert set(used.values()) == {(OLD,)}

    def builder(self) -> int:
        """The server process that is building, once it is halfway."""
        deadline = time.monotonic() + 60
        with self.database.connect(autocommit=True) as connection:
            while time.monotonic() < deadline:
                row = connection.execute(
                    "SELECT pid FROM pg_stat_progress_create_index"
                    " WHERE datname = current_database() AND phase LIKE '%%k-means%%'"
                ).fetchone()
                if row is not None:
                    return int(row[0])
                time.sleep(0.02)
        raise AssertionError("no build was seen")

    def wait_for_the_end_of(self, pid: int, meanwhile: Callable[[], None]) -> None:
        """Wait until the server process has ended."""
        deadline = time.monotonic() + 60
        with self.database.connect(autocommit=True) as connection:
            while time.monotonic() < deadline:
                meanwhile()
                alive = connection.execute(
                    "SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)
                ).fetchone()
                if alive is None:
                    return
        raise AssertionError("the build goes on")

    def errors(self) -> dict[int, str]:
        """The error of each failed generation."""
        with self.database.connect() as connection:
            return dict(
                connection.execute(
                    "SELECT generation, error FROM index_generations WHERE state = 'failed'"
                ).fetchall()
            )

    def assert_clean(self, outcome: IndexOutcome, states: list[tuple[int, str]]) -> None:
        """Assert that the outcome's index is the only one, and check each generation's state."""
        assert outcome.generation is not None
        with self.database.connect() as connection:
            assert generation_states(connection) == states
            (index,) = live_indexes(connection, self.table)
            assert build_progress(connection, self.table) is None
        assert index.valid
        assert index.generation == outcome.generation.number


def make_site(database: Database, settings: Settings) -> Site:
    table = copy_rows(database, space_of(database, settings), "EN_A", clustered(ROWS))
    old = maintained(database, settings, table, lists=SHORT, queries=QUERIES)
    return Site(database, settings, table, old)


@pytest.fixture
def site(database: Database, make_settings: MakeSettings) -> Site:
    return make_site(database, index_settings(make_settings))


@pytest.mark.slow
def test_the_client_is_killed_in_the_middle_of_a_build(site: Site) -> None:
    child = maintain_in_process(site.database, site.settings, site.table, IndexRequest(lists=LONG))
    builder = site.builder()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    site.wait_for_the_end_of(builder, site.search)
    with site.database.connect() as connection:
        there = {index.name: index.valid for index in
                 live_indexes(connection, site.table)}  # fmt: skip
        assert generation_states(connection) == [(1, "ready"), (2, "building")]
    assert there == {OLD: True, DEAD: False}, "the dead build left an invalid index"
    outcome = site.maintained()
    assert outcome.leftovers == (DEAD,)
    assert site.errors() == {2: "its run ended without a report"}
    site.assert_clean(outcome, [(1, "dropped"), (2, "failed"), (3, "ready")])


@pytest.mark.slow
def test_a_run_right_after_a_killed_one_waits_for_its_build_to_end(site: Site) -> None:
    child = maintain_in_process(site.database, site.settings, site.table, IndexRequest(lists=LONG))
    site.builder()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    heard = Heard()
    outcome = site.maintained(progress=heard)
    assert heard.lines[0] == f"another run is building on {site.table}: waiting for it"
    assert outcome.leftovers == (DEAD,)
    site.assert_clean(outcome, [(1, "dropped"), (2, "failed"), (3, "ready")])


@pytest.mark.slow
def test_the_server_ends_the_session_that_builds(site: Site) -> None:
    with ThreadPoolExecutor(1) as thread:
        building = thread.submit(site.maintained, LONG)
        builder = site.builder()
        with site.database.connect(autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (builder,))
        with pytest.raises(DatabaseUnavailableError):
            building.result()
    site.search()
    outcome = site.maintained()
    assert outcome.leftovers == (DEAD,)
    site.assert_clean(outcome, [(1, "dropped"), (2, "failed"), (3, "ready")])


@dataclass
class Interrupted(Heard):
    """Raises at a certain message, like a run that is interrupted there."""

    word: str = ""
    error: BaseException | None = None

    def say(self, message: str) -> None:
        super().say(message)
        if self.word in message and self.error is not None:
            raise self.error


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [RuntimeError("no more"), KeyboardInterrupt()], ids=["error", "Ctrl-C"]
)
def test_an_interrupted_run_cancels_its_build_on_the_server(
    site: Site, error: BaseException
) -> None:
    progress = Interrupted([], "k-means", error)
    with pytest.raises(type(error)):
        site.maintained(LONG, progress)
    with site.database.connect() as connection:
        assert build_progress(connection, site.table) is None
        assert index_names(connection) == [OLD]
        assert generation_states(connection) == [(1, "ready"), (2, "failed")]
    said = "RuntimeError: no more" if isinstance(error, RuntimeError) else "KeyboardInterrupt"
    assert site.errors() == {2: said}
    site.search()
    outcome = site.maintained()
    assert outcome.leftovers == ()
    site.assert_clean(outcome, [(1, "dropped"), (2, "failed"), (3, "ready")])


def test_a_run_interrupted_while_tuning_leaves_no_candidate(site: Site) -> None:
    with pytest.raises(RuntimeError):
        site.maintained(8, Interrupted([], "recall@10", RuntimeError("no more")))
    site.search()
    kept = maintained(site.database, site.settings, site.table)
    assert kept.decision.action is IndexAction.KEEP
    assert kept.generation == site.old.generation
    assert kept.dropped == (2,)
    site.assert_clean(kept, [(1, "ready"), (2, "dropped")])


@pytest.mark.slow
def test_concurrent_runs_take_turns_and_the_second_keeps_the_firsts_index(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings, rag_index_lists=1000)
    table = copy_rows(database, space_of(database, settings), "EN_A", clustered(ROWS))
    heard = Heard()
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(maintained, database, settings, table, queries=QUERIES)
        deadline = time.monotonic() + 60
        with database.connect(autocommit=True) as connection:
            while build_progress(connection, table) is None and time.monotonic() < deadline:
                time.sleep(0.02)
        second = maintained(database, settings, table, progress=heard)
    assert first.result().decision.action is IndexAction.BUILD
    assert heard.lines[0] == f"another run is building on {table}: waiting for it"
    assert second.decision.action is IndexAction.KEEP
    assert second.generation == first.result().generation
    with database.connect() as connection:
        assert generation_states(connection) == [(1, "ready")]


@pytest.mark.parametrize(
    "predicate", [sql.SQL("WHERE verse_id <> -77"), sql.SQL("")], ids=["generation 77", "none"]
)
def test_an_invalid_index_of_any_origin_is_found_and_dropped(
    database: Database, make_settings: MakeSettings, predicate: sql.SQL
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, {"EN_A": 1100})
    with database.connect(autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '1MB'")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            connection.execute(
                sql.SQL(
                    "CREATE INDEX CONCURRENTLY by_hand ON verse_embeddings_s1"
                    " USING ivfflat (embedding halfvec_cosine_ops) WITH (lists = 500) {}"
                ).format(predicate)
            )
        assert index_names(connection) == ["by_hand"]
    outcome = maintained(database, settings, table)
    assert outcome.leftovers == ("by_hand",)
    with database.connect() as connection:
        assert index_names(connection) == [OLD]
    assert maintained(database, settings, table).leftovers == ()


@pytest.fixture
def own_server() -> Iterator[Path]:
    """A separate server, to be killed."""
    home = Path(tempfile.mkdtemp(prefix="rag-killed-"))
    yield home
    embedded.release(home / "postgres")
    shutil.rmtree(home)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["all its processes", "the postmaster alone"])
def test_the_server_is_killed_in_the_middle_of_a_build(own_server: Path, whole: bool) -> None:
    """``whole`` false kills only the postmaster; the building process continues for a while."""
    settings = Settings(
        rag_home=own_server,
        rag_embedding_provider="offline",
        rag_embedding_small_dimensions=DIMENSIONS,
        rag_code_bits=0,
        rag_index_min_rows=1000,
        rag_index_profile="dev",
    )
    database = open_database(settings)
    migrate(database)
    site = make_site(database, settings)
    cluster = own_server / "postgres"
    with ThreadPoolExecutor(1) as thread:
        building = thread.submit(site.maintained, LONG)
        site.builder()
        postmaster = psutil.Process(int((cluster / "postmaster.pid").read_text().split()[0]))
        children = postmaster.children()
        for process in (postmaster, *children) if whole else (postmaster,):
            process.kill()
        with pytest.raises(RagAssetsError) as caught:
            building.result()
    assert isinstance(caught.value, DatabaseUnavailableError), "trying again is right"
    psutil.wait_procs(children, timeout=60)
    embedded.ensure_running(cluster)
    site.search()
    outcome = site.maintained()
    if whole:
        assert outcome.leftovers == (DEAD,)
    # The remaining process may finish its build or drop it; either way it is gone.
    assert set(site.errors()) == {2}
    assert outcome.generation is not None
    last = outcome.generation.number  # after a crash a sequence skips some numbers
    site.assert_clean(outcome, [(1, "dropped"), (2, "failed"), (last, "ready")])
