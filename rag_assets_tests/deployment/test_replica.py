"""The API beside a real streaming replica: either may lag, hang or go, and searches go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from rag_assets.api.sql.keys import create_key
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres.database import Connection, Database, one
from rag_assets.postgres.migrations import migrate
from rag_assets.postgres.pool import Pool
from rag_assets.settings.model import Settings
from rag_assets_tests.api.conftest import corpus_settings
from rag_assets_tests.api.server import DOCUMENTS, Server, environment_of, serving, wait_until
from rag_assets_tests.api.test_graceful import Load, load_on
from rag_assets_tests.corpora import sentences
from rag_assets_tests.deployment.hosts import Host, hosts, why_not
from rag_assets_tests.deployment.servers import Cluster, folder_of_servers
from rag_assets_tests.release.corpus import check, embed, prepare, release_corpus
from rag_assets_tests.vectors.vectors import count_rows

pytestmark = pytest.mark.long

VECTOR = [1.0] + [0.0] * 63
MAX_LAG_S = 4
BURST = 200


@dataclass
class Pair:
    """A primary with a released corpus, the replica that follows it, and a key of the API."""

    primary: Cluster
    replica: Cluster
    settings: Settings
    key: str

    @property
    def corpus(self) -> Database:
        return self.primary.database("corpus")

    def environment(self, folder: Path, **more: object) -> dict[str, str]:
        """Of an API that searches the replica."""
        return environment_of(
            self.corpus,
            RAG_DATABASE_READ_URL=self.replica.database("corpus").conninfo,
            RAG_DATABASE_READ_MAX_LAG_S=MAX_LAG_S,
            RAG_DOCUMENTS_URL=folder / "inbox",
            RAG_HOME=folder,
            RAG_API_BURST=BURST,
            RAG_API_KEY_CACHE_S=1,
            **more,
        )

    def caught_up(self) -> bool:
        """Whether the replica shows all that the primary has."""
        with self.corpus.connect() as connection:
            (written,) = one(connection.execute("SELECT pg_current_wal_lsn()"))
        with self.replica.database("corpus").connect() as connection:
            return one(connection.execute("SELECT pg_last_wal_replay_lsn() >= %s", (written,)))[0]

    @contextmanager
    def lagging(self) -> Iterator[None]:
        """The replica replays nothing until the end of the block."""
        with self.replica.database("corpus").connect(autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            wait_until(
                lambda: (
                    one(connection.execute("SELECT pg_get_wal_replay_pause_state()")) == ("paused",)
                )
            )
            try:
                yield
            finally:
                connection.execute("SELECT pg_wal_replay_resume()")


MakePair = Callable[[], Pair]


@pytest.fixture(scope="module")
def make_pair(rag_home: Path) -> Iterator[MakePair]:
    """Makes pairs; ``rag_home`` has made the programs readable for PostgreSQL's user."""
    with ExitStack() as stack:
        yield lambda: made(stack.enter_context(folder_of_servers()))


def made(folder: Path, hub: str | None = None, host: Host | None = None) -> Pair:
    """A pair; the replica on a host of its own, if told, which reaches the primary by ``hub``."""
    primary, replica = Cluster(folder), Cluster(folder, host=host)
    primary.make(shared_buffers="64MB", fsync="off")
    if hub is not None:
        primary.open_to(f"{hub}/24")
    primary.start()
    corpus = primary.database("corpus")
    migrate(corpus)
    settings = corpus_settings(corpus)
    prepare(corpus, settings, "EN_A", sentences(60))
    release_corpus(corpus, settings)
    with corpus.connect() as connection:
        key = create_key(connection, "searches", ("read", "admin"), requests_per_minute=30)
    replica.copy_of(primary, hub or "127.0.0.1")
    replica.set(max_standby_streaming_delay="0")  # what conflicts is cancelled at once
    if host is not None:
        replica.set(listen_addresses="*")
    replica.start()
    return Pair(primary, replica, settings, key)


@pytest.fixture(scope="module")
def pair(make_pair: MakePair) -> Pair:
    return make_pair()


@pytest.fixture(scope="module")
def server(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The API as a worker of its own; the tests start what they stopped."""
    folder = tmp_path_factory.mktemp("replica")
    with serving(folder, pair.environment(folder)) as running:
        wait_until(lambda: searched(running) == "replica")
        yield running
        assert "Traceback" not in running.log
        assert "unexpected error" not in running.log


def searched(server: Server) -> str:
    """The server that the API says that it searches."""
    answer = server.http.get("/readyz")
    return str(answer.json().get("searched")) if answer.status_code == 200 else answer.text


def ask(server: Server, pair: Pair, query: str, **body: object) -> httpx.Response:
    """A search with the key."""
    return server.retrieve(headers={"X-API-Key": pair.key}, query=query, **body)


def texts(server: Server, pair: Pair) -> set[str]:
    """What is found of one verse; by a vector, so that no query is cached."""
    answer = server.retrieve(headers={"X-API-Key": pair.key}, vector=VECTOR, top_k=60)
    assert answer.status_code == 200, answer.text
    return {hit["text"] for hit in answer.json()["hits"]}


def rested(pair: Pair) -> None:
    """The key may send its burst again."""
    with pair.corpus.connect() as connection:
        connection.execute("DELETE FROM api_limits")


def upload(server: Server, pair: Pair, name: str) -> httpx.Response:
    return server.http.post(
        DOCUMENTS,
        params={"name": name},
        content=f"# {name}\n".encode(),
        headers={"X-API-Key": pair.key, "Content-Type": "application/octet-stream"},
    )


def test_searches_show_what_the_replica_has_and_uploads_are_seen_at_once(
    server: Server, pair: Pair
) -> None:
    rested(pair)
    assert server.metrics()["rag_reads_from_replica"] == 1
    with pair.lagging():
        with pair.corpus.connect() as connection:
            connection.execute("UPDATE verses SET text = 'changed since' WHERE verse = 1")
        assert "changed since" not in texts(server, pair)
        done = upload(server, pair, "seen.md")
        assert done.status_code == 201, done.text
        headers = {"X-API-Key": pair.key}
        asked = server.http.get(f"{DOCUMENTS}/{done.json()['key']}", headers=headers)
        assert asked.status_code == 200  # from the primary: the replica does not know it yet
    wait_until(lambda: "changed since" in texts(server, pair))
    embed(pair.corpus, pair.settings, "EN_A")  # or the next release is refused for the old vectors
    check(pair.corpus, pair.settings, "EN_A")


def test_a_replica_too_far_behind_is_left_for_the_primary_until_it_has_caught_up(
    server: Server, pair: Pair
) -> None:
    rested(pair)
    before = server.http.get("/readyz").json()["release"]
    prepare(pair.corpus, pair.settings, "EN_B", sentences(60, word="brook"), force=True)
    wait_until(pair.caught_up)
    with pair.lagging():
        release_corpus(pair.corpus, pair.settings)
        ready = server.http.get("/readyz").json()
        assert (ready["searched"], ready["release"]) == ("replica", before)
        assert ask(server, pair, "a river").json()["release"] == before
        started = time.monotonic()
        wait_until(lambda: searched(server) == "primary", MAX_LAG_S + 5)
        assert time.monotonic() - started < MAX_LAG_S + 3
        assert server.metrics()["rag_replica_lag_seconds"] > MAX_LAG_S
        assert ask(server, pair, "a brook", versions=["EN_B"]).json()["release"] == before + 1
    wait_until(lambda: searched(server) == "replica")
    assert server.http.get("/readyz").json()["release"] == before + 1
    assert server.metrics()["rag_replica_lag_seconds"] < MAX_LAG_S


def test_while_the_primary_is_away_searches_go_on_and_rates_hold(
    server: Server, pair: Pair
) -> None:
    rested(pair)
    pair.primary.stop("immediate")
    try:
        wait_until(lambda: "the primary is unreachable" in upload(server, pair, "x.md").text)
        time.sleep(1.2)  # so that the key must be looked up, too
        started = time.monotonic()
        answers = [ask(server, pair, f"a river of number {n}") for n in range(BURST + 5)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:100] == [200] * 100
        assert {*statuses} == {200, 429}
        assert time.monotonic() - started < 20  # nobody waits for the primary
        assert searched(server) == "replica"
        refused = upload(server, pair, "late.md")
        assert refused.status_code in (429, 503)
        headers = {"X-API-Key": f"rag_{'0' * 12}_wrong"}
        assert server.retrieve(headers=headers, query="a river").status_code == 401
    finally:
        pair.primary.start()
    wait_until(lambda: upload(server, pair, "late.md").status_code in (200, 201), 30)


def test_while_the_replica_is_away_the_primary_serves(server: Server, pair: Pair) -> None:
    open_to_all(pair)
    with load_on(server, headers={"X-API-Key": pair.key}) as load:
        pair.replica.stop("immediate")
        gone = len(load.answers)
        wait_until(lambda: searched(server) == "primary")
        wait_until(lambda: len(load.answers) > gone + 300)
        pair.replica.start()
        wait_until(lambda: searched(server) == "replica", 30)
        back = len(load.answers)
        wait_until(lambda: len(load.answers) > back + 300)
    assert load.failures == []
    assert set(load.statuses()) == {200}
    assert server.metrics()["rag_replica_fallbacks_total"] > 0


def open_to_all(pair: Pair) -> None:
    """A key without a limit that counts here."""
    with pair.corpus.connect() as connection:
        connection.execute("UPDATE api_keys SET requests_per_minute = 30000")
        connection.execute("DELETE FROM api_limits")
    wait_until(pair.caught_up)
    time.sleep(1.2)


def test_what_the_primary_takes_away_from_a_query_is_read_again(server: Server, pair: Pair) -> None:
    """DROP INDEX, VACUUM FULL and their like cancel what reads the same on a standby."""
    open_to_all(pair)
    before = server.metrics()["rag_replica_fallbacks_total"]
    ended = threading.Event()

    def take_away() -> None:
        with psycopg.connect(pair.corpus.conninfo, autocommit=True) as connection:
            while not ended.is_set():
                with connection.transaction():
                    connection.execute("LOCK TABLE verses IN ACCESS EXCLUSIVE MODE")
                    connection.execute("SELECT pg_current_xact_id()")

    thread = threading.Thread(target=take_away)
    with load_on(server, headers={"X-API-Key": pair.key}) as load:
        thread.start()
        try:
            wait_until(lambda: server.metrics()["rag_replica_fallbacks_total"] > before + 5, 30)
        finally:
            ended.set()
            thread.join()
    assert load.failures == []
    assert set(load.statuses()) == {200}


def test_a_cancelled_query_says_why(pair: Pair) -> None:
    started = threading.Event()

    def read(connection: Connection) -> None:
        with connection.transaction():
            connection.execute("SELECT FROM verses LIMIT 1")
            started.set()
            connection.execute("SELECT pg_sleep(20)")

    def take_away() -> None:
        started.wait(10)
        with pair.corpus.connect() as connection:
            connection.execute("LOCK TABLE verses IN ACCESS EXCLUSIVE MODE")
            connection.execute("SELECT pg_current_xact_id()")

    thread = threading.Thread(target=take_away)
    thread.start()
    with (
        Pool(pair.replica.database("corpus"), size=1, wait_s=5) as pool,
        pytest.raises(DatabaseUnavailableError, match="gone on the primary by now: try again"),
    ):
        pool.run(read)
    thread.join()


def test_a_replica_that_hangs_keeps_nobody_waiting_for_long(server: Server, pair: Pair) -> None:
    open_to_all(pair)
    wait_until(lambda: searched(server) == "replica", 30)
    with load_on(server, headers={"X-API-Key": pair.key}) as load, pair.replica.frozen():
        wait_until(lambda: searched(server) == "primary", 20)
        served = len(load.answers)
        wait_until(lambda: len(load.answers) > served + 300, 30)
        wait_until(lambda: slowest(load) > 5, 20)  # what was under way came back, too
    assert load.failures == []
    assert set(load.statuses()) == {200}
    assert slowest(load) < 16
    wait_until(lambda: searched(server) == "replica", 30)


def slowest(load: Load) -> float:
    """Seconds."""
    return max(answer.elapsed.total_seconds() for answer in list(load.answers))


def test_a_replica_whose_host_is_gone_keeps_nobody_waiting_for_long(
    rag_home: Path, tmp_path: Path
) -> None:
    """A power cut: no connection is told anything."""
    if reason := why_not():
        pytest.skip(reason)
    with hosts("standby") as (hub, named), folder_of_servers() as folder:
        pair = made(folder, hub, named["standby"])
        open_to_all(pair)
        with (
            serving(tmp_path, pair.environment(tmp_path)) as server,
            load_on(server, headers={"X-API-Key": pair.key}) as load,
        ):
            wait_until(lambda: searched(server) == "replica")
            named["standby"].cut_off()
            started = time.monotonic()
            wait_until(lambda: searched(server) == "primary", 20)
            left = time.monotonic() - started
            served = len(load.answers)
            wait_until(lambda: len(load.answers) > served + 300, 30)
            named["standby"].reconnect()
            wait_until(lambda: searched(server) == "replica", 40)
        assert load.failures == []
        assert set(load.statuses()) == {200}
        assert left < 14
        assert slowest(load) < 16  # what was under way waits twice the patience


def test_the_api_starts_on_the_replica_alone_and_writes_again_after_a_failover(
    make_pair: MakePair, tmp_path: Path
) -> None:
    pair = make_pair()
    hosts = f"127.0.0.1:{pair.primary.port},127.0.0.1:{pair.replica.port}"
    environment = pair.environment(tmp_path) | {
        "RAG_DATABASE_URL": f"postgresql://postgres@{hosts}/corpus",
        "RAG_DATABASE_READ_URL": f"postgresql://postgres@{hosts}/corpus",
    }
    wait_until(pair.caught_up)
    before = count_rows(pair.corpus, "query_embeddings")
    pair.primary.stop()
    with serving(tmp_path, environment) as server:
        assert "starting with the replica only" in server.log
        assert searched(server) == "replica"
        assert ask(server, pair, "a river").status_code == 200
        refused = upload(server, pair, "one.md")
        assert refused.status_code == 503
        assert refused.json()["title"] == "database unavailable"
        pair.replica.promote()
        wait_until(lambda: upload(server, pair, "one.md").status_code in (200, 201), 30)
        assert ask(server, pair, "a brook").status_code == 200
    kept = count_rows(pair.replica.database("corpus"), "query_embeddings")
    assert kept == before + 1, "what was asked when it could be written"


def test_a_url_that_leads_to_a_standby_refuses_what_writes_in_a_sentence(pair: Pair) -> None:
    def write(connection: Connection) -> None:
        connection.execute("DELETE FROM query_embeddings")

    with (
        Pool(pair.replica.database("corpus"), size=1, wait_s=5) as pool,
        pytest.raises(DatabaseUnavailableError, match="is a standby, where nothing can be written"),
    ):
        pool.run(write)
