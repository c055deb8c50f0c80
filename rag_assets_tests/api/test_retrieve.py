"""What a response contains: hits, timing, the release, the plan and the request's id."""

from __future__ import annotations

import re

import httpx
import pytest

from rag_assets_tests.api.conftest import vector_of, verse_text
from rag_assets_tests.api.server import RETRIEVE, Server

QUERY = "where you go I will go, and where you sleep I will sleep"


def test_a_verse_is_found_by_its_text_with_references_for_people_and_programs(
    server: Server,
) -> None:
    text = verse_text("EN_SAMPLE", "RUT", 1, 16)
    first = server.found(query=text)["hits"][0]
    assert first.pop("score") > 0.999
    shown = first["snippet"]
    assert first == {
        "rank": 1,
        "corpus": "bible",
        "reference": "Ruth 1:16",
        "usfm": "RUT 1:16",
        "version": "EN_SAMPLE",
        "language": "en",
        "text": text,
        "snippet": shown,
        "elements": None,
        "relevance": None,
        "source": "vector",
        "also": [],
    }
    assert "".join(part["text"] for part in shown) == text


def test_a_portuguese_hit_has_a_portuguese_reference(server: Server) -> None:
    first = server.found(query=verse_text("PT_SAMPLE", "PSA", 23, 1))["hits"][0]
    assert (first["reference"], first["usfm"]) == ("Salmos 23:1", "PSA 23:1")
    assert (first["version"], first["language"]) == ("PT_SAMPLE", "pt-BR")


def test_a_response_says_how_it_was_found(server: Server) -> None:
    found = server.found(query=QUERY)
    assert found["release"] == 1
    assert found["k_returned"] == len(found["hits"]) == 10
    assert found["why_fewer"] is None
    assert found["plan"]["kind"] == "ivfflat"
    assert found["plan"]["generation"] == 1
    assert found["plan"]["probes"] >= 1
    timing = found["timing"]
    assert 0 < timing["search_ms"] <= timing["total_ms"]
    assert 0 <= timing["embedding_ms"] <= timing["total_ms"]


def test_hits_are_ranked_by_score(server: Server) -> None:
    hits = server.found(query=QUERY, top_k=40)["hits"]
    assert [hit["rank"] for hit in hits] == list(range(1, 41))
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)


@pytest.mark.parametrize("top_k", [1, 2, 99, 100])
def test_as_many_hits_are_returned_as_requested(server: Server, top_k: int) -> None:
    # With a filter that is searched exactly: an index may find fewer within its probes.
    found = server.found(query=QUERY, top_k=top_k, books=["RUT", "PSA"], language="en")
    assert found["k_returned"] == len(found["hits"]) == top_k


def test_a_get_with_parameters_answers_the_same_as_a_post(server: Server) -> None:
    posted = server.found(query=QUERY, top_k=4, versions=["EN_SAMPLE"], books=["RUT", "JON"])
    got = server.http.get(
        RETRIEVE,
        params=[
            ("query", QUERY),
            ("top_k", "4"),
            ("versions", "EN_SAMPLE"),
            ("books", "RUT"),
            ("books", "JON"),
        ],
    )
    assert got.status_code == 200, got.text
    assert got.json()["hits"] == posted["hits"]


def test_a_vector_finds_what_its_query_finds_whatever_its_length(server: Server) -> None:
    vector = vector_of(QUERY)
    asked = server.found(query=QUERY)["hits"]
    for length in (1.0, 1e-25, 1e25):
        found = server.found(vector=[component * length for component in vector])
        assert [hit["usfm"] for hit in found["hits"]] == [hit["usfm"] for hit in asked]
        assert found["hits"][0]["score"] == pytest.approx(asked[0]["score"], abs=1e-3)
        assert found["timing"]["embedding_ms"] < 5


def test_fewer_hits_than_asked_for_says_why(server: Server) -> None:
    found = server.found(query=QUERY, top_k=100, versions=["EN_SAMPLE"], books=["PHM"])
    assert found["k_returned"] == 25
    assert found["why_fewer"] == "nothing else matches"


def test_hits_under_the_minimum_score_are_left_out_and_reported(server: Server) -> None:
    text = verse_text("EN_SAMPLE", "RUT", 1, 16)
    found = server.found(query=text, min_score=0.9)
    assert [hit["usfm"] for hit in found["hits"]] == ["RUT 1:16"]
    assert re.fullmatch(r"9 further rows score under min_score 0.9", found["why_fewer"])
    none = server.found(query="entirely elsewhere", min_score=1)
    assert (none["k_returned"], none["hits"]) == (0, [])


def test_collapsing_keeps_one_hit_per_verse_and_names_the_other_versions(server: Server) -> None:
    both = server.found(query="Boaz", books=["RUT"], chapter_from=2, chapter_to=4, top_k=100)
    one = server.found(
        query="Boaz", books=["RUT"], chapter_from=2, chapter_to=4, top_k=100, collapse=True
    )
    verses = [hit["usfm"] for hit in one["hits"]]
    assert len(verses) == len(set(verses))
    # A bridge in one version counts as the verse that it begins with.
    first = {verse.partition("-")[0] for verse in verses}
    assert first >= {hit["usfm"].partition("-")[0] for hit in both["hits"]}
    assert {tuple(sorted((hit["version"], *hit["also"]))) for hit in one["hits"]} >= {
        ("EN_SAMPLE", "PT_SAMPLE")
    }
    assert both["hits"][0]["version"] == one["hits"][0]["version"]


def test_collapsing_still_returns_as_many_hits_as_requested(server: Server) -> None:
    found = server.found(query=QUERY, top_k=20, books=["RUT"], collapse=True)
    assert found["k_returned"] == 20


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "0af7651916cd43dd8448eb211c80319c:1.2_3"])
def test_the_clients_own_request_id_is_returned(server: Server, given: str) -> None:
    answer = server.retrieve(query=QUERY, headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "two words", "a\tb", 'x"y', "ação"])
def test_a_request_id_that_is_unsafe_in_a_log_line_is_replaced(server: Server, given: str) -> None:
    answer = server.http.post(
        RETRIEVE, json={"query": QUERY}, headers={"X-Request-ID": given.encode("latin-1")}
    )
    mine = answer.headers["x-request-id"]
    assert mine == answer.json()["request_id"]
    assert re.fullmatch("[0-9a-f]{32}", mine)


def test_each_request_without_an_id_gets_a_new_one(server: Server) -> None:
    ids = {server.http.get("/healthz").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


def test_health_is_alive_and_readiness_names_the_release(server: Server) -> None:
    assert server.http.get("/healthz").json() == {"status": "alive"}
    assert server.http.get("/readyz").json() == {
        "status": "ready",
        "release": 1,
        "database": "answers",
    }


def test_the_playground_page_is_served(server: Server) -> None:
    page: httpx.Response = server.http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
