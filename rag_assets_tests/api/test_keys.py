"""Keys: who may send requests, with which header and scope, and until when."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rag_assets.api.security import Keyring
from rag_assets.api.sql.keys import (
    Allowance,
    Scope,
    create_key,
    key_pace,
    list_keys,
    revoke_key,
    take_request,
)
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import (
    EVAL,
    METRICS,
    Server,
    command,
    environment_of,
    free_port,
    serving,
    wait_until,
)
from rag_assets_tests.api.test_problems import problem_of

KEY_CACHE_S = 1


def new_key(database: Database, *scopes: Scope, per_minute: int = 100_000) -> str:
    """A complete key."""
    with database.connect() as connection:
        return create_key(connection, "a test", scopes, requests_per_minute=per_minute)


@pytest.fixture(scope="module")
def locked_database(bilingual: Database, copied: Copy) -> Database:
    """A released corpus with a key."""
    database = copied(bilingual)
    new_key(database, "admin")
    return database


@pytest.fixture(scope="module")
def locked(locked_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that requires a key."""
    environment = environment_of(locked_database, RAG_API_KEY_CACHE_S=KEY_CACHE_S)
    with serving(tmp_path_factory.mktemp("locked"), environment) as running:
        yield running


def test_without_a_key_only_health_and_metrics_are_answered(locked: Server) -> None:
    refused = locked.retrieve(query="a")
    found = problem_of(refused, 401, "unauthorised")
    assert "rag-assets keys create" in found["detail"]
    assert refused.headers["www-authenticate"] == "Bearer"
    problem_of(locked.http.post(EVAL, json={"queries": [{"query": "a"}]}), 401, "unauthorised")
    for path in ("/healthz", "/readyz", METRICS, "/openapi.json"):
        assert locked.http.get(path).status_code == 200


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_key_is_taken_from_either_header(
    locked: Server, locked_database: Database, header: str
) -> None:
    key = new_key(locked_database, "read")
    value = f"Bearer {key}" if header == "Authorization" else key
    answer = locked.retrieve(query="a", headers={header: value})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ratelimit-limit"] == "100000"
    assert int(answer.headers["x-ratelimit-remaining"]) > 0


def test_a_wrong_key_is_refused(locked: Server, locked_database: Database) -> None:
    key = new_key(locked_database, "read")
    start, _, secret = key.rpartition("_")
    nearly = [
        f"{start}_{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}",
        start,
        f"{start}_",
        f"{key}x",
        secret,
        key.upper(),
        "rag__",
        "",
        "ключ".encode().decode("latin-1"),
    ]
    for wrong in nearly:
        answer = locked.http.post(
            "/api/v1/ai/rag/retrieve",
            json={"query": "a"},
            headers={"X-API-Key": wrong.encode("latin-1")},
        )
        problem_of(answer, 401, "unauthorised")
    basic = locked.retrieve(query="a", headers={"Authorization": f"Basic {key}"})
    problem_of(basic, 401, "unauthorised")


def test_a_key_needs_the_scope_and_admin_has_every_scope(
    locked: Server, locked_database: Database
) -> None:
    none = new_key(locked_database)
    found = problem_of(
        locked.retrieve(query="a", headers={"X-API-Key": none}), 403, "missing-scope"
    )
    assert "read" in found["detail"]
    for scope in ("read", "admin"):
        key = new_key(locked_database, scope)
        assert locked.retrieve(query="a", headers={"X-API-Key": key}).status_code == 200


def test_a_revoked_key_is_forgotten_within_seconds(
    locked: Server, locked_database: Database
) -> None:
    key = new_key(locked_database, "read")
    headers = {"X-API-Key": key}
    assert locked.retrieve(query="a", headers=headers).status_code == 200
    with locked_database.connect() as connection:
        assert revoke_key(connection, key.split("_")[1])
    wait_until(lambda: locked.retrieve(query="a", headers=headers).status_code == 401)


def test_the_log_names_a_key_by_its_id_and_never_shows_it(
    locked: Server, locked_database: Database
) -> None:
    key = new_key(locked_database, "read")
    locked.retrieve(query="a", headers={"X-API-Key": key})
    wait_until(lambda: f"key={key.split('_')[1]}" in locked.log)
    assert key.split("_", 2)[2] not in locked.log


@pytest.mark.slow
def test_the_first_key_closes_a_service_that_was_open_and_revoking_it_does_not_open_it(
    bilingual: Database, copied: Copy, tmp_path: Path
) -> None:
    database = copied(bilingual)
    with serving(tmp_path, environment_of(database, RAG_API_KEY_CACHE_S=KEY_CACHE_S)) as server:
        assert "no API key exists: listening on loopback only" in server.log
        assert server.retrieve(query="a").status_code == 200
        key = new_key(database, "read")
        wait_until(lambda: server.retrieve(query="a").status_code == 401)
        assert server.retrieve(query="a", headers={"X-API-Key": key}).status_code == 200
        with database.connect() as connection:
            for known in list_keys(connection):
                revoke_key(connection, known.key_id)
        headers = {"X-API-Key": key}
        wait_until(lambda: server.retrieve(query="a", headers=headers).status_code == 401)
        assert server.retrieve(query="a").status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104
def test_without_any_key_it_listens_only_on_loopback(
    database: Database, tmp_path: Path, host: str
) -> None:
    port = str(free_port())
    done = subprocess.run(
        command("serve", "--host", host, "--port", port),
        cwd=tmp_path,
        env=environment_of(database),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"no API key exists, and {host} can be reached from other machines" in done.stderr


@pytest.mark.slow
def test_a_public_service_refuses_all_requests_once_its_last_key_is_revoked(
    bilingual: Database, copied: Copy, tmp_path: Path
) -> None:
    database = copied(bilingual)
    key = new_key(database, "read")
    environment = environment_of(
        database,
        RAG_API_HOST="0.0.0.0",  # noqa: S104
        RAG_API_KEY_CACHE_S=0,
    )
    with serving(tmp_path, environment) as server:
        assert server.retrieve(query="a", headers={"X-API-Key": key}).status_code == 200
        with database.connect() as connection:
            revoke_key(connection, key.split("_")[1])
        problem_of(server.retrieve(query="a"), 401, "unauthorised")
        problem_of(server.retrieve(query="a", headers={"X-API-Key": key}), 401, "unauthorised")


def test_many_clients_without_keys_query_the_database_once(
    bilingual: Database, copied: Copy, tmp_path: Path
) -> None:
    """If each queried on its own, those without a connection would get 503."""
    database = copied(bilingual)
    new_key(database, "read")
    environment = environment_of(database, RAG_API_STATEMENT_TIMEOUT_MS=20_000)
    with serving(tmp_path, environment) as server, ThreadPoolExecutor(60) as threads:
        with database.connect() as connection:
            connection.execute("LOCK TABLE api_keys")
            asking = [threads.submit(server.retrieve, query="a") for _ in range(60)]
            time.sleep(4)
        assert Counter(asked.result().status_code for asked in asking) == {401: 60}


def test_settings_start_on_loopback() -> None:
    assert Settings().rag_api_host == "127.0.0.1"


def test_a_worker_on_its_own_counts_like_the_database(database: Database) -> None:
    now = [1000.0]
    keyring = Keyring(seconds=5, clock=lambda: now[0])

    def take() -> Allowance:
        return keyring.take("a", key_pace(per_minute=60, burst=3))

    assert [take().remaining for _ in range(3)] == [2, 1, 0]
    refused = take()
    assert (refused.remaining, refused.retry_after_s) == (0, pytest.approx(1.0))
    now[0] += 0.999
    assert take().retry_after_s > 0
    now[0] += 0.002
    assert take().retry_after_s == 0
    assert keyring.take("b", key_pace(per_minute=60, burst=3)).remaining == 2
    with database.connect(autocommit=True) as connection:
        asked = [take_request(connection, "a", key_pace(per_minute=60, burst=3)) for _ in range(4)]
    assert [one.remaining for one in asked] == [2, 1, 0, 0]
    assert 0.5 < asked[3].retry_after_s <= 1
