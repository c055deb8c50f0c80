"""A confined key reads what it is confined to, through every route and every plan."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.api.agents.tools import TOOLS
from rag_assets.api.routes.queue import ADMIN
from rag_assets.api.sql.keys import create_key, find_key
from rag_assets.errors import ConfigurationError, RequestError
from rag_assets.postgres.database import Database
from rag_assets.retrieval.confinement import EVERYTHING, Confinement
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.sides import sides_of
from rag_assets_tests.api.conftest import CARTA, MANUAL, Copy, vector_of
from rag_assets_tests.api.server import (
    CORPUS,
    DOCUMENTS,
    EVAL,
    EXPLAIN,
    RETRIEVE,
    VERSES,
    Server,
    environment_of,
    serving,
)
from rag_assets_tests.api.test_problems import problem_of
from rag_assets_tests.retrieval.test_sides import TOGETHER

CONFINEMENTS = {
    "versions": Confinement(versions=("PT_*",)),
    "languages": Confinement(languages=("pt",)),
    "documents": Confinement(corpora=("documents",), languages=("en",)),
    "bible": Confinement(corpora=("bible",), versions=("EN_SAMPLE", "FR_*")),
    "both": Confinement(corpora=("bible", "documents"), versions=("EN_*",), languages=("en",)),
    "nothing": Confinement(versions=("XX_*",)),
    "another corpus": Confinement(corpora=("handbook",)),
}
LANGUAGE_OF = {"PT_SAMPLE": "pt-BR", "EN_SAMPLE": "en", "manual.pdf": "en", "carta.md": "pt"}
TEXTS_OF = {"manual.pdf": [*MANUAL, "manual.pdf"], "carta.md": [*CARTA, "carta.md"]}


@dataclass(frozen=True)
class Client:
    """A client with a key of its own."""

    server: Server
    headers: Mapping[str, str]
    may: Confinement

    def allows(self, name: str) -> bool:
        """Whether it may read this version or document."""
        if name in TEXTS_OF:
            return self.may.allows_corpus("documents") and self.may.allows_language(
                LANGUAGE_OF[name]
            )
        return self.may.allows_corpus("bible") and self.may.allows_version(name, LANGUAGE_OF[name])

    def send(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """Send a request, and check that its answer holds nothing that the key may not read."""
        answer = self.server.http.request(method, path, headers=self.headers, **sent)
        assert answer.status_code in (200, 403, 404, 422), answer.text
        for name, texts in TEXTS_OF.items():
            if not self.allows(name) and name not in str(sent) + path:
                assert not [text for text in texts if text in answer.text]
        for hit in answer.json().get("hits", ()):
            for version in [hit.get("document", hit.get("version")), *hit.get("also", ())]:
                assert self.allows(version), (version, sent)
        return answer

    def call(self, tool: str, **arguments: object) -> dict[str, Any] | None:
        """Call a tool for agents; ``None`` if it refuses."""
        params = {"name": tool, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        result = self.send("POST", "/mcp", json=message).json()["result"]
        found: dict[str, Any] = result["structuredContent"]
        return None if result["isError"] else found


@pytest.fixture(scope="module")
def locked_database(stocked: Database, copied: Copy) -> Database:
    return copied(stocked)


@pytest.fixture(scope="module")
def locked(locked_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that reads through codes and index even for a few rows."""
    with locked_database.connect() as connection:
        create_key(connection, "first", ("admin",), requests_per_minute=1)
    environment = environment_of(locked_database, RAG_SEARCH_EXACT_ROWS=0, RAG_API_BURST=100_000)
    with serving(tmp_path_factory.mktemp("confined"), environment) as running:
        yield running


EXPECTED = {
    "EN_SAMPLE JON 1:17": "EN_SAMPLE",
    "PT_SAMPLE JON 1:17": "PT_SAMPLE",
    "manual.pdf": "manual.pdf",
    "carta.md#2": "carta.md",
    "XX_NONE JON 1:17": None,
    "none.pdf": None,
}
"""Passages, and the version or document that they are in."""


def check_stages(mine: Client, explained: dict[str, Any]) -> None:
    """What the key may not read looks like what does not exist, and has no rank."""
    found = {one["passage"]: one for one in explained["expected"]}
    assert found.keys() == EXPECTED.keys()
    for passage, name in EXPECTED.items():
        one = found[passage]
        if name is None:
            assert one["stage"] in ("outside_key_scope", "not_in_source")
        else:
            assert (one["stage"] == "outside_key_scope") is not mine.allows(name)
        if one["stage"] == "outside_key_scope":
            assert one["reason"] == "It is outside this key's scope."
            assert set(one["ranks"].values()) == {None}
            assert (one["score"], one["plans"], one["found"]) == (None, [], False)


def client(server: Server, database: Database, may: Confinement) -> Client:
    """A client with a new key."""
    with database.connect() as connection:
        key = create_key(
            connection, "a test", ("read",), requests_per_minute=1_000_000, confinement=may
        )
    accept = "application/json, text/event-stream"  # both, as MCP asks for
    return Client(server, {"X-API-Key": key, "Accept": accept}, may)


def searches() -> list[dict[str, Any]]:
    """Each option's values in random company, always the same; every tenth without a filter."""
    options: dict[str, list[Any]] = {
        "corpus": [None, "bible", "documents", "both"],
        "versions": [None, None, ["PT_SAMPLE"], ["EN_SAMPLE", "PT_SAMPLE"], ["XX_NONE"]],
        "language": [None, None, "pt", "en", "fr"],
        "documents": [None, None, ["carta.md"], ["carta.md", "manual.pdf"]],
        "hybrid": [False, True],
        "rerank": [False, False, True],
        "collapse": [False, True],
        "context": [0, 0, 2],
    }
    chooser = random.Random(23)
    found = []
    for place in range(60):
        one = {name: chooser.choice(values) for name, values in options.items()}
        if place % 10 == 0:
            one |= dict.fromkeys(("versions", "language", "documents"))
        found.append({name: value for name, value in one.items() if value is not None})
    return found


@pytest.mark.parametrize("name", CONFINEMENTS)
def test_no_route_returns_what_the_key_may_not_read(
    locked: Server, locked_database: Database, name: str
) -> None:
    mine = client(locked, locked_database, CONFINEMENTS[name])
    statuses: set[int] = set()
    plans: set[str] = set()
    for place, asked in enumerate(searches()):
        query: dict[str, Any] = {"query": f"{MANUAL[1]} {CARTA[0]}", "top_k": 100}
        if place % 3 == 0 and not asked["hybrid"]:
            query = {"vector": vector_of(MANUAL[1]), "top_k": 100}
        answer = mine.send("POST", RETRIEVE, json=asked | query)
        statuses.add(answer.status_code)
        if answer.status_code == 200:
            plan = answer.json()["plan"]
            plans.update(one["kind"] for one in (plan, plan.get("bible", plan)))
        if answer.status_code == 403:
            problem = problem_of(answer, 403, "not-for-this-key")
            assert "this key is confined to" in problem["detail"]
    assert 403 in statuses
    assert (200 in statuses) is (name not in ("nothing", "another corpus"))
    if mine.may.allows_corpus("bible") and 200 in statuses:
        assert {"codes", "iterative"} & plans or {"ivfflat"} & plans

    mine.send("GET", RETRIEVE, params={"query": "a", "corpus": "both", "context": 1})
    for versions in (None, ["PT_SAMPLE"], ["EN_SAMPLE"]):
        mine.send("POST", EVAL, json={"queries": [{"query": "a"}], "versions": versions})
    explained = mine.send("POST", EXPLAIN, json={"query": MANUAL[1], "expect": list(EXPECTED)})
    if explained.status_code == 200:
        check_stages(mine, explained.json())
    for versions in ([], ["PT_SAMPLE"], ["EN_SAMPLE"]):
        beside = mine.send("GET", VERSES, params={"reference": "RUT 1", "versions": versions})
        verses = beside.json().get("verses", ())
        assert bool(verses) is (beside.status_code == 200)
        assert all(mine.allows(verse["version"]) for verse in verses)
    listed = mine.send("GET", DOCUMENTS, params={"limit": 100})
    if listed.status_code == 200:
        keys = {document["key"] for document in listed.json()["documents"]}
        assert keys == {key for key in TEXTS_OF if mine.allows(key)}
    else:
        problem_of(listed, 403, "not-for-this-key")
    for key in TEXTS_OF:
        status = mine.send("GET", f"{DOCUMENTS}/{key}").status_code
        bible_only = mine.may.document_corpora == ()
        assert status == (200 if mine.allows(key) else 403 if bible_only else 404)
    mine.send("GET", f"{DOCUMENTS}/a")  # suggests similar keys
    refused = mine.send("POST", DOCUMENTS, params={"name": "a.md"}, content=b"a")
    problem_of(refused, 403, "missing-scope")
    problem_of(mine.send("GET", f"{ADMIN}/dead-letters"), 403, "missing-scope")


@pytest.mark.parametrize("name", CONFINEMENTS)
def test_lists_and_tools_show_what_the_key_may_read_and_nothing_else(
    locked: Server, locked_database: Database, name: str
) -> None:
    mine = client(locked, locked_database, CONFINEMENTS[name])
    readable = {name for name in LANGUAGE_OF if mine.allows(name)}
    answer = mine.send("GET", CORPUS)
    tool = mine.call("list_corpus", limit=100)
    if readable:
        found = answer.raise_for_status().json()
        assert tool == found | {"request_id": tool and tool["request_id"]}
        listed = {one["version"] for one in found["versions"]}
        documents = found["documents"] or {"listed": [], "documents": 0}
        assert documents["documents"] == len(documents["listed"])
        assert listed | {one["document"] for one in documents["listed"]} == readable
        languages = {LANGUAGE_OF[one].partition("-")[0] for one in readable}
        assert {one["language"] for one in found["languages"]} == languages
        assert bool(found["books"]) is bool(listed)
    else:
        problem_of(answer, 403, "not-for-this-key")
        assert tool is None
    explained = mine.call("explain", query=MANUAL[1], expect=list(EXPECTED))
    assert (explained is not None) is bool(readable)
    if explained:
        check_stages(mine, explained)
    hits = mine.call("search", query=f"{MANUAL[1]} {CARTA[0]}", top_k=100)
    found_in = {hit.get("document", hit.get("version")) for hit in (hits or {"hits": ()})["hits"]}
    assert found_in <= readable
    assert bool(found_in) is bool(readable)
    for one in LANGUAGE_OF:
        if one in TEXTS_OF:
            fetched = mine.call("fetch", document=one)
        else:
            fetched = mine.call("fetch", version=one, reference="RUT 1")
        assert (fetched is not None) is mine.allows(one), one


def test_every_route_that_takes_a_key_is_among_them(locked: Server) -> None:
    """A new route must be sent above, with what it could reveal."""
    paths = locked.http.get("/openapi.json").json()["paths"]
    guarded = {
        (method, path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation.get("security") and not path.startswith(ADMIN)  # confined keys have no scope
    }
    assert guarded == {
        *(("get", RETRIEVE), ("post", RETRIEVE), ("post", EVAL)),
        *(("get", DOCUMENTS), ("post", DOCUMENTS), ("get", f"{DOCUMENTS}/{{key}}")),
        ("get", CORPUS),
        ("get", VERSES),
        ("post", EXPLAIN),
    }
    assert {tool.name for tool in TOOLS} == {"search", "fetch", "list_corpus", "explain"}


def test_without_a_filter_the_confinement_is_the_filter(
    locked: Server, locked_database: Database
) -> None:
    def found(may: Confinement, **asked: object) -> set[str]:
        answer = client(locked, locked_database, may).send(
            "POST", RETRIEVE, json={"query": f"{MANUAL[1]} {CARTA[0]}", "top_k": 100} | asked
        )
        assert answer.status_code == 200, answer.text
        return {hit.get("document", hit.get("version")) for hit in answer.json()["hits"]}

    assert found(CONFINEMENTS["versions"]) == {"PT_SAMPLE"}
    assert found(CONFINEMENTS["languages"]) == {"PT_SAMPLE", "carta.md"}
    assert found(CONFINEMENTS["documents"]) == {"manual.pdf"}
    assert found(CONFINEMENTS["both"]) == {"EN_SAMPLE", "manual.pdf"}
    assert found(CONFINEMENTS["both"], hybrid=True, collapse=True) == {"EN_SAMPLE", "manual.pdf"}
    assert found(EVERYTHING) >= {"EN_SAMPLE", "PT_SAMPLE"}


CODES = st.sampled_from(["EN_A", "PT_C", "EN_NO"])
TAGS = st.sampled_from(["en", "pt", "fr", "pt-BR", "und"])


@given(
    may=st.builds(
        Confinement,
        st.none() | st.sampled_from([("bible",), ("documents",), ("bible", "documents")]),
        st.none() | st.lists(st.sampled_from(["EN_*", "PT_C", "FR_*"]), min_size=1).map(tuple),
        st.none() | st.lists(st.sampled_from(["en", "pt", "fr"]), min_size=1).map(tuple),
    ),
    request=st.builds(
        SearchRequest,
        corpus=st.sampled_from(["bible", "documents", "both"]),
        versions=st.none() | st.lists(CODES, min_size=1).map(tuple),
        language=st.none() | TAGS,
        rerank=st.booleans(),
    ),
)
def test_every_side_of_a_search_is_confined(may: Confinement, request: SearchRequest) -> None:
    asked = SearchRequest(**{**vars(request), "confinement": may})
    try:
        sides = sides_of(None, asked, TOGETHER)
    except RequestError:
        return
    for side in sides:
        assert may.allows_corpus(side.corpus)
        if side.corpus == "bible":
            languages = TOGETHER.languages
            assert all(may.allows_version(code, languages[code]) for code in side.scopes)
            assert side.filter.scopes == side.scopes
        elif may.languages is not None:
            assert side.filter.scopes is not None
            assert all(map(may.allows_language, side.filter.scopes))


def test_a_confined_key_has_no_scope_that_an_earlier_release_would_accept(
    database: Database,
) -> None:
    may = Confinement(versions=("PT_*",))
    with database.connect() as connection:
        key = create_key(connection, "a", ("read",), requests_per_minute=1, confinement=may)
        stored = connection.execute("SELECT scopes FROM api_keys").fetchall()
        found = find_key(connection, key)
    assert stored == [([],)]
    assert found is not None
    assert (found.scopes, found.confinement) == (("read",), may)
    with database.connect() as connection, pytest.raises(ConfigurationError, match="read alone"):
        create_key(connection, "a", ("read", "admin"), requests_per_minute=1, confinement=may)
    with database.connect() as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE api_keys SET scopes = '{admin}'")
