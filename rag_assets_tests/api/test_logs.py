"""One line per request, with its id, and never a vector, a key or a query's text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import METRICS, RETRIEVE, Server, environment_of, serving
from rag_assets_tests.api.server import wait_until as until
from rag_assets_tests.api.test_keys import new_key


@pytest.fixture(scope="module")
def json_server(bilingual: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service that requires a key and logs JSON, and the key."""
    database = copied(bilingual)
    key = new_key(database, "read")
    folder = tmp_path_factory.mktemp("logs")
    with serving(folder, environment_of(database, RAG_LOG_FORMAT="json")) as running:
        yield running, key


def ask(served: tuple[Server, str], request_id: str, **body: object) -> int:
    """Send a request with the key; return the status."""
    server, key = served
    headers = {"X-API-Key": key, "X-Request-ID": request_id}
    return server.retrieve(headers=headers, **body).status_code


def logged(server: Server, *request_ids: str) -> list[dict[str, Any]]:
    """All lines of its log as JSON, once it has a line for each of these requests."""
    until(lambda: all(f'"{one}"' in server.log for one in request_ids))
    until(lambda: server.log.endswith("\n"))
    return server.log_lines()


def test_a_request_is_one_line_with_its_outcome(json_server: tuple[Server, str]) -> None:
    assert ask(json_server, "one-line", query="a", top_k=3) == 200
    server, key = json_server
    (line,) = [one for one in logged(server, "one-line") if one["request_id"] == "one-line"]
    assert line.pop("time").endswith("+00:00")
    assert line.pop("ms") > 0
    assert line.pop("search_ms") > 0
    assert line == {
        "level": "INFO",
        "message": f"POST {RETRIEVE}",
        "request_id": "one-line",
        "status": 200,
        "release": 1,
        "plan": "ivfflat",
        "k": 3,
        "key": key.split("_")[1],
    }


def test_a_refusal_is_a_line_with_its_status(json_server: tuple[Server, str]) -> None:
    assert ask(json_server, "refused", query="a", books=["nothing"]) == 422
    lines = logged(json_server[0], "refused")
    (line,) = [line for line in lines if line["request_id"] == "refused"]
    assert (line["status"], line["level"]) == (422, "INFO")


def test_neither_vector_nor_key_nor_query_is_logged(json_server: tuple[Server, str]) -> None:
    server, key = json_server
    secret = key.split("_", 2)[2]
    ask(json_server, "id-1", query="unspeakable words", hybrid=True)
    ask(json_server, "id-2", vector=[0.12345678] * 64)
    ask(json_server, "id-3", query="unspeakable words", books=["unspeakable"])
    ask(json_server, "id-4", query=["unspeakable"], vector=[0.12345678])
    server.http.get(
        RETRIEVE,
        params={"query": "unspeakable", "top_k": "x"},
        headers={"X-API-Key": f"rag_{'0' * 12}_unspeakable"},
    )
    server.http.get(RETRIEVE, params={"query": "unspeakable"}, headers={"X-API-Key": key})
    logged(server, "id-1", "id-2", "id-3", "id-4")
    for hidden in ("unspeakable", "0.12345678", secret):
        assert hidden not in server.log


def test_health_and_metrics_are_too_frequent_to_be_logged(
    json_server: tuple[Server, str],
) -> None:
    server, _ = json_server
    for path in ("/healthz", "/readyz", METRICS):
        assert server.http.get(path).status_code == 200
    messages = [line["message"] for line in logged(server)]
    assert not [message for message in messages if "/healthz" in message or METRICS in message]


@pytest.mark.slow
def test_a_path_cannot_forge_a_line(bilingual: Database, copied: Copy, tmp_path: Path) -> None:
    with serving(tmp_path, environment_of(copied(bilingual))) as server:
        server.http.get("/a%0a00:00:00.000 INFO    [-] forged")
        server.retrieve(query="a", headers={"X-Request-ID": "x-text"})
        until(lambda: "[x-text]" in server.log)
        assert not [line for line in server.log.splitlines() if line.startswith("00:00:00.000 I")]
        (line,) = [line for line in server.log.splitlines() if "[x-text]" in line]
        assert f"POST {RETRIEVE} status=200" in line
        assert "plan=ivfflat" in line
