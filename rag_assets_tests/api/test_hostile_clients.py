"""Clients that are slow, large or many do not stop the others."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import RETRIEVE, Server, environment_of, serving

pytestmark = pytest.mark.long

VECTOR = [1.0] + [0.0] * 63
IDLE = 1000
HEAD = f"POST {RETRIEVE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module", autouse=True)
def _many_files() -> Iterator[None]:
    """Allow a thousand connections on both sides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * IDLE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def patient(
    bilingual: Database,
    copied: Copy,
    tmp_path_factory: pytest.TempPathFactory,
    _many_files: None,
) -> Iterator[Server]:
    """A service that waits one second for a body of 64 kB at most."""
    environment = environment_of(
        copied(bilingual), RAG_API_BODY_TIMEOUT_S=1, RAG_API_BODY_LIMIT_KB=64
    )
    with serving(tmp_path_factory.mktemp("patient"), environment) as running:
        yield running


def connected(server: Server) -> socket.socket:
    """A new connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def answer_on(connection: socket.socket) -> tuple[int, dict[str, object], bool]:
    """Status, problem, and whether the connection was closed after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(65536)
        assert got, data
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(headers[b"content-length"]):
        body += connection.recv(65536)
    closed = headers.get(b"connection") == b"close"
    return int(head.split(b" ")[1]), json.loads(body), closed


def others_are_answered(server: Server) -> bool:
    """Whether other clients are answered."""
    return bool(server.found(vector=VECTOR)["hits"])


def test_a_body_that_never_arrives_times_out_and_delays_no_other_request(patient: Server) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(connected(patient))) for _ in range(50)]
        for connection in slow:
            connection.sendall(f"{HEAD}Content-Length: 100\r\n\r\n{{".encode())
        assert others_are_answered(patient)
        for connection in slow:
            status, problem, closed = answer_on(connection)
            assert (status, problem["type"]) == (408, "urn:rag-assets:problem:body-too-slow")
            assert closed


def test_a_slowly_sent_body_times_out_too(patient: Server) -> None:
    with closing(connected(patient)) as connection:
        connection.sendall(f"{HEAD}Content-Length: 10000\r\n\r\n".encode())
        connection.settimeout(0.05)
        for _ in range(200):
            connection.sendall(b" ")
            try:
                first = connection.recv(12)
            except TimeoutError:
                continue
            break
        assert first == b"HTTP/1.1 408"


def test_a_body_declared_too_large_is_refused_before_it_is_sent(patient: Server) -> None:
    with closing(connected(patient)) as connection:
        connection.sendall(f"{HEAD}Content-Length: 10000000000\r\n\r\n".encode())
        status, problem, closed = answer_on(connection)
    assert (status, problem["type"]) == (413, "urn:rag-assets:problem:body-too-large")
    assert "64 kB" in str(problem["detail"])
    assert closed


def test_a_body_without_an_end_is_refused_once_it_is_too_large(patient: Server) -> None:
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    with closing(connected(patient)) as connection:
        connection.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(9):
            connection.sendall(chunk)
        status, problem, closed = answer_on(connection)
    assert (status, closed) == (413, True)
    assert problem["title"] == "body too large"
    assert others_are_answered(patient)


def test_a_body_just_within_the_limit_is_read(patient: Server) -> None:
    body = json.dumps({"vector": VECTOR}).encode().ljust(64 * 1024)
    answer = patient.http.post(RETRIEVE, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert patient.http.post(RETRIEVE, content=body + b" ").status_code == 413


def test_a_client_that_disconnects_halfway_leaves_no_trace(patient: Server) -> None:
    for _ in range(20):
        with closing(connected(patient)) as connection:
            connection.sendall(f"{HEAD}Content-Length: 100\r\n\r\n{{".encode())
    for _ in range(20):
        body = json.dumps({"vector": VECTOR})
        with closing(connected(patient)) as connection:
            connection.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    assert others_are_answered(patient)
    assert "unexpected error" not in patient.log


def test_data_that_are_not_http_are_refused(patient: Server) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"\0" * 100):
        with closing(connected(patient)) as connection:
            connection.sendall(noise)
            status, problem, closed = answer_on(connection)
            assert (status, problem["type"]) == (400, "urn:rag-assets:problem:not-http")
            assert len(str(problem["request_id"])) == 32
            assert closed
    assert others_are_answered(patient)


@pytest.mark.slow
def test_a_thousand_idle_connections_do_not_stop_the_others(patient: Server) -> None:
    with ExitStack() as stack:
        for place in range(IDLE):
            connection = stack.enter_context(closing(connected(patient)))
            if place % 2:
                connection.sendall(HEAD.encode()[: 10 + place % 60])  # a head without an end
        for _ in range(20):
            assert others_are_answered(patient)
            assert patient.http.get("/readyz").status_code == 200
    assert others_are_answered(patient)
