"""The tools for agents, called by the SDK's own client over both transports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from rag_assets.api.sql.keys import create_key
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import CARTA, MANUAL, Copy, verse_text
from rag_assets_tests.api.server import Server, command, environment_of, serving

Connected = Callable[[], AbstractAsyncContextManager[Client]]
BURST = 30
BRIDGE = [("Ruth 4:17", False), ("Ruth 4:18-19", True), ("Ruth 4:20", False)]


@pytest.fixture(scope="module")
def guarded(stocked: Database, copied: Copy) -> tuple[Database, str, str]:
    """A released corpus, a key that reads it, and one with a rate of a request a minute."""
    database = copied(stocked)
    with database.connect() as connection:
        key = create_key(connection, "agent", ("read",), requests_per_minute=100_000)
        slow = create_key(connection, "slow", ("read",), requests_per_minute=1)
    return database, key, slow


@pytest.fixture(scope="module")
def agents(
    guarded: tuple[Database, str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service for this module's tests."""
    environment = environment_of(guarded[0], RAG_LOG_FORMAT="json", RAG_API_BURST=BURST)
    with serving(tmp_path_factory.mktemp("mcp"), environment) as running:
        yield running


@asynccontextmanager
async def over_http(
    origin: str, key: str, *, mode: str = "auto", **headers: str
) -> AsyncIterator[Client]:
    sent = headers | ({"Authorization": f"Bearer {key}"} if key else {})
    async with httpx2.AsyncClient(headers=sent, timeout=30, trust_env=False) as http:
        transport = streamable_http_client(f"{origin}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


@asynccontextmanager
async def over_stdio(database: Database, key: str) -> AsyncIterator[Client]:
    program, *arguments = command("mcp")
    environment = environment_of(database, RAG_MCP_API_KEY=key)
    started = StdioServerParameters(command=program, args=arguments, env=environment)
    async with Client(started, read_timeout_seconds=60) as client:
        yield client


async def called(client: Client, tool: str, /, **arguments: object) -> dict[str, Any]:
    """The structured output of a call that succeeds, which its text repeats."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    assert result.structured_content == json.loads(result.content[0].text)  # type: ignore[union-attr]
    found: dict[str, Any] = result.structured_content
    return found


async def refused(client: Client, tool: str, /, **arguments: object) -> dict[str, Any]:
    """The problem of a call that fails."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    found: dict[str, Any] = json.loads(result.content[0].text)  # type: ignore[union-attr]
    return found


async def use_every_tool(connected: Connected) -> dict[str, Any]:
    """What each tool answers, without what differs between two calls."""
    async with connected() as client:
        tools = (await client.list_tools()).tools
        answers = {
            "search": await called(client, "search", query="a great fish swallowed Jonah"),
            "verse": await called(
                client, "fetch", version="EN_SAMPLE", reference="JON 1:17", context=2
            ),
            "bridge": await called(
                client, "fetch", version="EN_SAMPLE", reference="Rute 4:19", context=1
            ),
            "chapter": await called(client, "fetch", version="EN_SAMPLE", reference="RUT 1"),
            "passage": await called(client, "fetch", document="manual.pdf", position=2, context=1),
            "document": await called(client, "fetch", document="manual.pdf", limit=2),
            "rest": await called(client, "fetch", document="manual.pdf", limit=2, after=3),
            "corpus": await called(client, "list_corpus", limit=1),
            "explain": await called(
                client,
                "explain",
                query="a great fish swallowed Jonah",
                expect=["EN_SAMPLE JON 1:17", "none.pdf"],
            ),
            "wrong": await refused(client, "search", query="x", versions=["EN_SIMPLE"]),
        }
    assert [tool.name for tool in tools] == ["search", "fetch", "list_corpus", "explain"]
    assert all(tool.description and tool.output_schema for tool in tools)
    for answer in answers.values():
        assert len(answer.pop("request_id")) == 32
        answer.pop("timing", None)
    return answers


def test_every_tool_answers_the_same_over_both_transports(
    agents: Server, guarded: tuple[Database, str, str]
) -> None:
    database, key, _ = guarded
    modern, legacy, stdio = (
        asyncio.run(use_every_tool(connected))
        for connected in (
            partial(over_http, agents.origin, key),
            partial(over_http, agents.origin, key, mode="legacy"),
            partial(over_stdio, database, key),
        )
    )
    assert modern == legacy == stdio
    for name, answer in modern.items():
        assert answer.get("release", 2) == 2, name
    check_search(modern["search"])
    check_verses(modern)
    check_documents(modern)
    check_explained(modern["explain"])
    wrong = modern["wrong"]
    assert (wrong["type"], wrong["status"]) == ("urn:rag-assets:problem:unknown-version", 422)
    assert "EN_SAMPLE" in wrong["choices"]


def check_search(found: dict[str, Any]) -> None:
    assert found["hits"][0]["reference"] == "Jonah 1:17"
    assert found["hits"][0]["usfm"] == "JON 1:17"
    assert found["plan"]["kind"] == "both"


def check_explained(found: dict[str, Any]) -> None:
    assert found["hits"][0]["why"]["release"] == 2
    fish, none = found["expected"]
    assert (fish["reference"], fish["ranks"]["exact"]) == ("EN_SAMPLE Jonah 1:17", 1)
    assert [plan["kind"] for plan in fish["plans"]] == ["exact", "ivfflat"]
    assert (none["stage"], none["found"]) == ("not_in_source", False)


def check_verses(found: dict[str, Any]) -> None:
    verse = found["verse"]
    assert verse["plan"] == {"kind": "lookup"}
    assert [one["usfm"] for one in verse["passages"]] == [
        *("JON 1:15", "JON 1:16", "JON 1:17", "JON 2:1", "JON 2:2"),
    ]
    assert [one["asked"] for one in verse["passages"]] == [False, False, True, False, False]
    assert verse["passages"][2]["text"] == verse_text("EN_SAMPLE", "JON", 1, 17)
    around = [(one["reference"], one["asked"]) for one in found["bridge"]["passages"]]
    assert around == BRIDGE
    chapter = found["chapter"]["passages"]
    assert len(chapter) == 22
    assert {one["asked"] for one in chapter} == {True}
    assert chapter[0]["reference"] == "Ruth 1:1"


def check_documents(found: dict[str, Any]) -> None:
    passage = found["passage"]["passages"]
    assert [(one["position"], one["asked"]) for one in passage] == [
        *((1, False), (2, True), (3, False)),
    ]
    assert passage[1]["reference"] == "Manual, p. 2"
    pages = found["document"], found["rest"]
    assert [one["text"] for page in pages for one in page["passages"]] == MANUAL
    assert [page["next"] for page in pages] == [3, None]
    corpus = found["corpus"]
    assert [one["version"] for one in corpus["versions"]] == ["EN_SAMPLE", "PT_SAMPLE"]
    assert corpus["documents"]["documents"] == 2
    assert corpus["documents"]["passages"] == len(MANUAL) + len(CARTA)
    assert [one["document"] for one in corpus["documents"]["listed"]] == ["carta.md"]


def test_a_call_over_http_has_the_ids_metrics_and_log_line_of_a_request(
    agents: Server, guarded: tuple[Database, str, str]
) -> None:
    _, key, _ = guarded
    counted = 'rag_mcp_calls_total{status="200",tool="search"}'
    retrieved = 'rag_retrieve_total{corpus="both",plan="ivfflat+exact",status="200"}'
    before = agents.metrics()

    async def search() -> dict[str, Any]:
        named = {"X-Request-ID": "from-the-agent"}
        async with over_http(agents.origin, key, **named) as client:
            return await called(client, "search", query="pump")

    assert asyncio.run(search())["request_id"] == "from-the-agent"
    after = agents.metrics()
    for name in (counted, retrieved, 'rag_retrieve_latency_seconds_count{stage="total"}'):
        assert after[name] == before.get(name, 0) + 1, name
    lines = [line for line in agents.log_lines() if line["request_id"] == "from-the-agent"]
    (line,) = (line for line in lines if line.get("tool"))
    assert (line["message"], line["tool"], line["tool_status"]) == ("POST /mcp", "search", 200)
    assert (line["release"], line["plan"]) == (2, "ivfflat+exact")
    assert line["key"] == key.split("_")[1]


def test_keys_and_rates_apply_before_anything_is_read(
    agents: Server, guarded: tuple[Database, str, str]
) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

    def sent(key: str) -> httpx2.Response:
        headers = {"Accept": "application/json, text/event-stream", "X-API-Key": key}
        return httpx2.post(f"{agents.origin}/mcp", json=message, headers=headers, trust_env=False)

    assert sent("").status_code == sent("rag_no_key").status_code == 401
    assert sent("").json()["type"] == "urn:rag-assets:problem:unauthorised"
    statuses = [sent(guarded[2]).status_code for _ in range(BURST + 1)]
    assert statuses == [200] * BURST + [429]
    answer = agents.http.get("/mcp")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    large = httpx2.post(
        f"{agents.origin}/mcp", content=b" " * 2**21, headers={"X-API-Key": guarded[1]},
        trust_env=False,
    )  # fmt: skip
    assert large.status_code == 413


def test_what_is_wrong_with_a_call_is_named(
    agents: Server, guarded: tuple[Database, str, str]
) -> None:
    async def use() -> None:
        async with over_http(agents.origin, guarded[1]) as client:
            for arguments, kind in (
                ({"version": "EN_SAMPLE", "reference": "JON 9:9"}, "unknown-reference"),
                ({"version": "EN_SAMPLE", "reference": "Jonah"}, "bad-reference"),
                ({"version": "EN_SAMPLE", "reference": "JON 1:9-2"}, "bad-reference"),
                ({"version": "EN_SAMPLE", "reference": "Jonnah 1"}, "unknown-book"),
                ({"version": "EN_SIMPLE", "reference": "JON 1"}, "unknown-version"),
                ({"document": "manuel.pdf"}, "unknown-document"),
                ({"document": "manual.pdf", "position": 4}, "unknown-position"),
                ({"document": "manual.pdf", "after": 4}, "unknown-position"),
                ({"document": "manual.pdf", "version": "EN_SAMPLE"}, "version-or-document"),
                ({"version": "EN_SAMPLE"}, "version-or-document"),
                ({"limit": 0}, "invalid-request"),
                ({"page": 1}, "invalid-request"),
            ):
                found = await refused(client, "fetch", **arguments)
                assert found["type"] == f"urn:rag-assets:problem:{kind}", arguments
                assert found["status"] == 422
            with pytest.raises(MCPError, match="there is no tool find"):
                await client.call_tool("find", {})

    asyncio.run(use())


@pytest.mark.long
def test_standard_input_needs_a_key_where_the_api_does(guarded: tuple[Database, str, str]) -> None:
    async def use() -> dict[str, Any]:
        async with over_stdio(guarded[0], "") as client:
            return await refused(client, "list_corpus")

    problem = asyncio.run(use())
    assert problem["type"] == "urn:rag-assets:problem:unauthorised"
    assert "RAG_MCP_API_KEY" in problem["detail"]
