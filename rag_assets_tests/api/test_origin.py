"""Without API keys, no other site's page can use the API, by any name or browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.api.origin import foreign
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import (
    DOCUMENTS,
    EVAL,
    METRICS,
    RETRIEVE,
    Server,
    environment_of,
    serving,
)
from rag_assets_tests.api.test_keys import new_key
from rag_assets_tests.api.test_problems import problem_of

ROUTES = [
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/openapi.json"),
    ("GET", f"{RETRIEVE}?query=a"),
    ("POST", RETRIEVE),
    ("OPTIONS", RETRIEVE),
    ("POST", EVAL),
    ("GET", DOCUMENTS),
    ("GET", f"{DOCUMENTS}/a.md"),
    ("POST", f"{DOCUMENTS}?name=a.md"),
    ("GET", "/nothing"),
]
FOREIGN = ["a-page.example", "a-page.example:8000", "127.0.0.1.a-page.example", "localhost.evil",
           "192.168.1.7", "[2001:db8::1]:80", "0.0.0.0", "127.0.0.1@evil.example", "",  # noqa: S104
           "localhost:80:80", "[::1", "evil.example:8000/127.0.0.1"]  # fmt: skip
OURS = ["127.0.0.1", "127.0.0.1:9000", "127.1.2.3:80", "localhost", "LocalHost:8000", "[::1]",
        "[::1]:8000"]  # fmt: skip
CROSS_SITE = [
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    {"Origin": "https://a-page.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:3000"},
]


def ask(server: Server, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """A request, with a body if the route takes one."""
    body = b'{"query": "a"}' if method == "POST" else None
    types = {"Content-Type": "application/json"} if body else {}
    return server.http.request(method, path, headers=types | headers, content=body)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_keys_foreign_names_and_other_sites_pages_are_refused_on_every_route(
    server: Server, method: str, path: str
) -> None:
    for host in FOREIGN:
        answer = ask(server, method, path, {"Host": host})
        assert answer.status_code == 401, (host, answer.text)
    for headers in CROSS_SITE:
        answer = ask(server, method, path, headers)
        assert answer.status_code == 403, (headers, answer.text)
    if method != "HEAD":
        found = problem_of(ask(server, method, path, CROSS_SITE[0]), 403, "cross-site")
        assert "rag-assets keys create" in found["detail"]
        found = problem_of(ask(server, method, path, {"Host": "evil"}), 401, "unauthorised")
        assert "answers to 127.0.0.1 and localhost only" in found["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", METRICS])
def test_probes_and_scrapes_work_with_any_name(server: Server, path: str) -> None:
    for headers in ({"Host": "10.1.2.3:8000"}, {"Host": "rag-api"}, CROSS_SITE[0]):
        assert server.http.get(path, headers=headers).status_code == 200


def test_its_own_page_and_programs_may_use_any_loopback_name(
    server: Server,
) -> None:
    for host in OURS:
        assert ask(server, "GET", "/", {"Host": host}).status_code == 200
        own = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        answer = ask(server, "POST", RETRIEVE, own)
        assert answer.status_code == 200, (host, answer.text)
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
    linked = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}
    for headers in (typed, linked):
        assert ask(server, "GET", "/", headers).status_code == 200


@pytest.fixture(scope="module")
def locked(
    bilingual: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    """A service that requires a key, and the key."""
    database = copied(bilingual)
    key = new_key(database, "read")
    folder: Path = tmp_path_factory.mktemp("origin")
    with serving(folder, environment_of(database)) as running:
        yield running, key


def test_with_keys_a_service_has_whatever_name_its_proxy_gives_it(
    locked: tuple[Server, str],
) -> None:
    server, key = locked
    for headers in ({"Host": "search.example"}, *CROSS_SITE):
        assert ask(server, "GET", "/", headers).status_code == 200
        assert ask(server, "POST", RETRIEVE, headers).status_code == 401
        answer = ask(server, "POST", RETRIEVE, headers | {"X-API-Key": key})
        assert answer.status_code == 200, answer.text


@given(st.binary(max_size=40))
def test_any_host_header_is_judged_and_two_are_refused(host: bytes) -> None:
    foreign([(b"host", host)])
    ours = (b"host", b"127.0.0.1")
    assert foreign([ours]) is None
    assert foreign([ours, ours]) is not None
    assert foreign([]) is not None
