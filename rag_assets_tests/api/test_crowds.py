"""Hundreds of clients that hold resources: memory, connections, files."""

from __future__ import annotations

import re
import resource
import selectors
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from rag_assets.api.connections import Connections, Reason
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import (
    DOCUMENTS,
    METRICS,
    RETRIEVE,
    Server,
    environment_of,
    serving,
    wait_until,
)
from rag_assets_tests.api.test_keys import new_key

pytestmark = pytest.mark.long

MB = 2**20
VECTOR = [1.0] + [0.0] * 63
CROWD = 800
MOST_GROWN_MB = 200
"""For 800 bodies of 1 MB: without limits, a worker keeps all of them."""
TYPES = "Host: localhost\r\nContent-Type: application/json\r\n"
NEARLY_WHOLE = b" " * (MB - 1)
DECLARED = f"POST {RETRIEVE} HTTP/1.1\r\n{TYPES}Content-Length: {MB}\r\n\r\n".encode()
CHUNKED = (
    f"POST {RETRIEVE} HTTP/1.1\r\n{TYPES}Transfer-Encoding: chunked\r\n\r\n{MB:x}\r\n".encode()
)
HALF_A_HEAD = f"POST {RETRIEVE} HTTP/1.1\r\nHost: localhost\r\nX-Half".encode()
HALF_A_BODY = f"POST {RETRIEVE} HTTP/1.1\r\n{TYPES}Content-Length: 100\r\n\r\n{{".encode()


@pytest.fixture(scope="module", autouse=True)
def _many_files() -> Iterator[None]:
    """Allow enough open files for the clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Clients that all send the same data and hold the connection without reading."""

    def __init__(self, server: Server, clients: int, data: bytes) -> None:
        self._selector = selectors.DefaultSelector()
        self._sent: dict[socket.socket, int] = {}
        self._data = data
        for _ in range(clients):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            client.setblocking(False)
            self._sent[client] = 0
            self._selector.register(client, selectors.EVENT_WRITE)
            self._send(client)
        while self._selector.get_map() and (ready := self._selector.select(3)):
            for key, _ in ready:
                self._send(key.fileobj)  # type: ignore[arg-type]

    def _send(self, client: socket.socket) -> None:
        start = self._sent[client]
        try:
            self._sent[client] += client.send(self._data[start : start + 65536])
        except BlockingIOError:
            return
        except OSError:  # answered and closed meanwhile
            self._selector.unregister(client)
            return
        if self._sent[client] == len(self._data):
            self._selector.unregister(client)

    def answers(self) -> Counter[int | str]:
        """The number of clients per status, ``open`` without one, or ``closed``."""
        return Counter(self._answer(client) for client in self._sent)

    def _answer(self, client: socket.socket) -> int | str:
        try:
            head = client.recv(12, socket.MSG_PEEK)
        except BlockingIOError:
            return "open"
        except OSError:
            return "closed"
        return int(head.split()[1]) if head else "closed"

    def close(self) -> None:
        self._selector.close()
        for client in self._sent:
            client.close()


@contextmanager
def crowd(server: Server, clients: int, data: bytes) -> Iterator[Crowd]:
    """This many clients, until the block ends."""
    with closing(Crowd(server, clients, data)) as gathered:
        yield gathered


def resident_mb(server: Server) -> float:
    """Memory of the largest process that answers."""
    return max(status_of(pid, "VmRSS") for pid in server.workers() or [server.process.pid]) / 1024


def status_of(pid: int, name: str) -> int:
    """One of the kernel's figures on a process; sizes in kB."""
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text("utf-8"), re.M)
    assert found
    return int(found[1])


def settled(server: Server, clients: Crowd) -> None:
    """Wait until the service has read what it will: the system buffers a lot before that."""
    seen: deque[tuple[Counter[int | str], float]] = deque(maxlen=30)

    def unchanged() -> bool:
        seen.append((clients.answers(), resident_mb(server)))
        sizes = [size for _, size in seen]
        full = len(seen) == seen.maxlen
        return full and max(sizes) - min(sizes) < 4 and all(one[0] == seen[0][0] for one in seen)

    wait_until(unchanged, 120)


def healthy(server: Server) -> bool:
    """Whether a new client gets a health check's answer."""
    with httpx.Client(base_url=server.origin, trust_env=False, timeout=30) as http:
        return http.get("/healthz").json() == {"status": "alive"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_bodies_of_clients_without_a_key_are_not_read(
    bilingual: Database, copied: Copy, tmp_path: Path, workers: int
) -> None:
    database = copied(bilingual)
    key = new_key(database, "read")
    environment = environment_of(database, RAG_API_BODY_TIMEOUT_S=120)
    with serving(tmp_path, environment, workers=workers) as server:
        assert server.retrieve(headers={"X-API-Key": key}, vector=VECTOR).status_code == 200
        before = resident_mb(server)
        with crowd(server, CROWD, DECLARED + NEARLY_WHOLE) as clients:
            settled(server, clients)
            assert resident_mb(server) - before < MOST_GROWN_MB / 2
            assert clients.answers()["open"] == 0
            assert clients.answers()[401] > CROWD / 2  # a reset may have overtaken the others
            assert server.retrieve(headers={"X-API-Key": key}, vector=VECTOR).status_code == 200
            assert healthy(server)


@pytest.mark.slow
@pytest.mark.parametrize("head", [DECLARED, CHUNKED], ids=["declared", "chunked"])
def test_without_keys_all_bodies_together_stay_within_the_budget_and_queries_are_answered(
    bilingual: Database, copied: Copy, tmp_path: Path, head: bytes
) -> None:
    environment = environment_of(copied(bilingual), RAG_API_BODY_TIMEOUT_S=120)
    with serving(tmp_path, environment) as server:
        assert server.found(vector=VECTOR)["hits"]
        before = resident_mb(server)
        with crowd(server, CROWD, head + NEARLY_WHOLE) as clients:
            settled(server, clients)
            assert resident_mb(server) - before < MOST_GROWN_MB
            answers = clients.answers()
            assert answers["open"] < CROWD / 4, answers
            assert answers[503], answers  # of the others a reset may have overtaken it
            assert server.found(vector=VECTOR)["hits"]
            assert healthy(server)
        # Their memory is released.
        whole = json_body(MB)
        wait_until(lambda: post(server, whole).status_code == 200)
        assert resident_mb(server) - before < MOST_GROWN_MB


def json_body(size: int) -> bytes:
    """A search with a body of exactly this size."""
    return f'{{"vector": {VECTOR}}}'.encode().ljust(size)


def post(server: Server, body: bytes) -> httpx.Response:
    """Send this body."""
    return server.http.post(RETRIEVE, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.slow
def test_uploads_count_with_the_memory_held_not_with_their_size(
    bilingual: Database, copied: Copy, tmp_path: Path
) -> None:
    environment = environment_of(
        copied(bilingual), RAG_DOCUMENTS_URL=tmp_path / "inbox", RAG_API_BODIES_MB=1
    )
    with serving(tmp_path, environment) as server:
        for number in range(3):
            answer = server.http.post(
                DOCUMENTS,
                params={"name": f"{number}.txt"},
                content=b"a line of a document\n" * 200_000,
                headers={"Content-Type": "application/octet-stream"},
            )
            assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def strict(
    bilingual: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service that waits two seconds for a head, and requires no key."""
    environment = environment_of(
        copied(bilingual), RAG_API_HEAD_TIMEOUT_S=2, RAG_API_BODY_TIMEOUT_S=120
    )
    with serving(tmp_path_factory.mktemp("strict"), environment) as running:
        yield running


def metric(server: Server, reason: Reason) -> float:
    """How many connections were closed for this reason."""
    name = f'rag_api_closed_connections_total{{reason="{reason}"}}'
    return server.metrics().get(name, 0.0)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", "closed"),
        (HALF_A_HEAD, 408),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + HALF_A_HEAD, 200),
    ],
    ids=["nothing", "half", "half-a-second-one"],
)
def test_incomplete_heads_time_out(strict: Server, data: bytes, end: int | str) -> None:
    before = metric(strict, "slow-head")
    with crowd(strict, 200, data) as clients:
        wait_until(lambda: metric(strict, "slow-head") - before == 200)
        wait_until(lambda: clients.answers() == {end: 200})


def test_a_blank_line_does_not_keep_a_connection(strict: Server) -> None:
    with closing(socket.create_connection(("127.0.0.1", strict.port), timeout=20)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        heard = client.recv(65536)
        while b"alive" not in heard:  # head and body may arrive separately
            more = client.recv(65536)
            assert more, heard
            heard += more
        client.sendall(b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 408")
        assert client.recv(65536) == b""


def test_a_slowly_sent_head_times_out(strict: Server) -> None:
    with closing(socket.create_connection(("127.0.0.1", strict.port))) as client:
        client.settimeout(0.2)
        client.sendall(HALF_A_HEAD)
        for _ in range(200):
            client.sendall(b"x")
            try:
                first = client.recv(12)
            except TimeoutError:
                continue
            break
        assert first == b"HTTP/1.1 408"


@pytest.mark.parametrize(
    "data",
    [
        HALF_A_HEAD + b"x" * 300_000,
        b"GET /" + b"x" * 300_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000,
        HALF_A_BODY.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked")
        .removesuffix(b"{") + b"1\r\n{\r\n0\r\n" + b"a: b\r\n" * 1000,
    ],
    ids=["a-long-header", "a-long-address", "many-headers", "many-trailers"],
)  # fmt: skip
def test_a_head_without_an_end_does_not_fill_the_memory(strict: Server, data: bytes) -> None:
    before = resident_mb(strict)
    with crowd(strict, 100, data) as clients:
        wait_until(lambda: clients.answers()["open"] == 0)
        assert set(clients.answers()) <= {431, "closed"}
    assert resident_mb(strict) - before < 60


def test_the_number_of_pipelined_requests_is_limited(strict: Server) -> None:
    before = resident_mb(strict)
    one = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with crowd(strict, 100, one * 7000) as clients:
        settled(strict, clients)
        assert resident_mb(strict) - before < 100
        assert healthy(strict)


@pytest.mark.parametrize("requests", [1, 2, 16, 50])
def test_disconnecting_with_pipelined_requests_leaves_no_traceback(
    strict: Server, requests: int
) -> None:
    body = b'{"vector": %s, "top_k": 10}' % str(VECTOR).encode()
    one = f"POST {RETRIEVE} HTTP/1.1\r\n{TYPES}Content-Length: {len(body)}\r\n\r\n".encode() + body
    reset = struct.pack("ii", 1, 0)
    for _ in range(20):
        with closing(socket.create_connection(("127.0.0.1", strict.port), timeout=30)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            client.sendall(one * requests)
            time.sleep(0.005)
    assert healthy(strict)
    assert "Traceback" not in strict.log


def test_a_response_that_is_not_read_times_out(strict: Server) -> None:
    before = metric(strict, "unread")
    one = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", strict.port))
        client.setblocking(False)

        def asked_and_given_up() -> bool:
            with suppress(OSError):  # until the responses fill every buffer
                client.send(one)
            return metric(strict, "unread") > before

        wait_until(asked_and_given_up, 60)


def test_a_client_without_a_key_gets_no_100_continue(
    bilingual: Database, copied: Copy, tmp_path: Path
) -> None:
    database = copied(bilingual)
    new_key(database, "read")
    with (
        serving(tmp_path, environment_of(database)) as server,
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as client,
    ):
        client.sendall(DECLARED.replace(b"Content-Type", b"Expect: 100-continue\r\nContent-Type"))
        data = b""
        while got := client.recv(65536):
            data += got
        assert data.startswith(b"HTTP/1.1 401")
        assert b"connection: close" in data.lower()
        # A small body is read anyway, so the connection can be reused.
        answers = [server.retrieve(query="a") for _ in range(3)]
        assert [one.status_code for one in answers] == [401] * 3
        assert "connection" not in answers[0].headers


@pytest.mark.slow
@pytest.mark.parametrize("data", [HALF_A_HEAD, HALF_A_BODY, DECLARED + NEARLY_WHOLE],
                         ids=["heads", "bodies", "large-bodies"])  # fmt: skip
@pytest.mark.parametrize("limit", ["ulimit -Sn 1024", "ulimit -n 1024"], ids=["soft", "hard"])
def test_with_1024_open_files_1100_connections_do_not_block_health_checks(
    bilingual: Database, copied: Copy, tmp_path: Path, limit: str, data: bytes
) -> None:
    environment = environment_of(
        copied(bilingual), RAG_API_HEAD_TIMEOUT_S=120, RAG_API_BODY_TIMEOUT_S=120
    )
    with (
        serving(tmp_path, environment, shell=limit) as server,
        crowd(server, 1100, data) as clients,
    ):
        for _ in range(5):
            assert healthy(server)
            assert server.found(vector=VECTOR)["hits"]
        assert server.http.get(METRICS).status_code == 200
        still = clients.answers()["open"]
        if limit == "ulimit -n 1024":
            assert still <= 768
            assert "only 1024 open files are allowed" in server.log
        elif data is not DECLARED + NEARLY_WHOLE:
            assert still <= 1000


@pytest.mark.slow
def test_scrapes_waiting_for_the_database_do_not_each_hold_a_thread(
    bilingual: Database, copied: Copy, tmp_path: Path
) -> None:
    database = copied(bilingual)
    environment = environment_of(database, RAG_PROBE_TIMEOUT_S=30, RAG_METRICS_CACHE_S=0)
    scrape = f"GET {METRICS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with serving(tmp_path, environment) as server, database.connect() as connection:
        connection.execute("LOCK TABLE documents")
        before = status_of(server.process.pid, "Threads")
        with crowd(server, 300, scrape) as clients:
            settled(server, clients)
            assert status_of(server.process.pid, "Threads") - before < 50
            connection.rollback()
            wait_until(lambda: clients.answers() == {200: 300}, 120)


class Recorded:
    """A connection that records that it was dropped."""

    def __init__(self, name: str, dropped: list[str]) -> None:
        self._name = name
        self._dropped = dropped

    def drop(self) -> None:
        self._dropped.append(self._name)


def test_the_least_recently_active_is_evicted_and_a_busy_one_stays() -> None:
    dropped: list[str] = []
    reasons: list[Reason] = []
    all_of_them = Connections(limit=3, timeout_s=1, on_close=reasons.append)
    first, answered, third, fourth = (Recorded(name, dropped) for name in "abcd")
    for one in (first, answered, third):
        all_of_them.mark_waiting(one)
    all_of_them.mark_busy(answered)
    all_of_them.mark_active(first)
    all_of_them.mark_active(answered)  # a pipelined request does not mark it waiting
    all_of_them.mark_waiting(fourth)
    for _ in range(3):
        all_of_them.evict()
    assert dropped == ["c", "a", "d"]
    assert reasons == ["evicted"] * 3
