"""Hybrid search with full text, and re-ranking with the large model."""

from __future__ import annotations

from rag_assets_tests.api.conftest import vector_of, verse_text
from rag_assets_tests.api.server import Server

FIELD = {"language": "en", "books": ["RUT", "JON"], "top_k": 20}


def test_hybrid_search_finds_a_rare_word_that_the_vector_misses(server: Server) -> None:
    asked = {"query": "whose sandal was it, and why did he pull it off?", "language": "en"}
    plain = {hit["usfm"] for hit in server.found(**asked)["hits"]}
    hybrid = server.found(**asked, hybrid=True)["hits"]
    worded = {hit["usfm"] for hit in hybrid if hit["source"] in ("text", "both")}
    assert worded >= {"RUT 4:7", "RUT 4:8"}
    assert worded - plain


def test_each_language_is_searched_by_its_own_stems(server: Server) -> None:
    english = server.found(query="prayers", language="en", hybrid=True, top_k=30)["hits"]
    assert any(
        "pray" in hit["text"].lower() for hit in english if hit["source"] in ("text", "both")
    )
    # The stem of "peixes" is that of "peixe" in Portuguese only.
    fish = server.found(query="peixes", language="pt", hybrid=True, top_k=30)["hits"]
    worded = {hit["usfm"] for hit in fish if hit["source"] in ("text", "both")}
    assert worded == {"JON 1:17", "JON 2:1", "JON 2:10"}


def test_the_source_names_the_search_that_found_the_hit(server: Server) -> None:
    text = verse_text("EN_SAMPLE", "RUT", 1, 16)
    hybrid = server.found(query=text, hybrid=True, **FIELD)["hits"]
    assert (hybrid[0]["usfm"], hybrid[0]["source"]) == ("RUT 1:16", "both")
    assert {hit["source"] for hit in server.found(query=text, **FIELD)["hits"]} == {"vector"}
    assert {hit["source"] for hit in hybrid} <= {"vector", "text", "both"}


def test_hybrid_search_keeps_to_the_filters(server: Server) -> None:
    found = server.found(
        query="fish", language="en", books=["JON"], chapter_from=2, chapter_to=2, hybrid=True,
        top_k=100,
    )  # fmt: skip
    assert {hit["usfm"].partition(":")[0] for hit in found["hits"]} == {"JON 2"}


def test_hybrid_search_with_stop_words_only_is_a_vector_search(server: Server) -> None:
    for query in ("the of and", "!!! ???", "a\u0000b", "&& || <-> !"):
        found = server.found(query=query, hybrid=True)
        assert {hit["source"] for hit in found["hits"]} <= {"vector"} or query == "a\u0000b"
        assert found["k_returned"] == 10


def test_hybrid_hits_have_the_score_of_their_vector(server: Server) -> None:
    query = "barley"
    by_vector = {
        hit["usfm"]: hit["score"]
        for hit in server.found(query=query, language="en", books=["RUT"], top_k=100)["hits"]
    }
    for hit in server.found(query=query, hybrid=True, language="en", books=["RUT"])["hits"]:
        assert abs(hit["score"] - by_vector[hit["usfm"]]) < 1e-3


def test_reranking_orders_by_the_large_space(server: Server) -> None:
    query = "a great storm on the sea and the sailors were afraid"
    small = server.found(query=query, **FIELD)["hits"]
    large = server.found(query=query, rerank=True, **FIELD)["hits"]
    scores = [hit["score"] for hit in large]
    assert scores == sorted(scores, reverse=True)
    assert [hit["usfm"] for hit in large] != [hit["usfm"] for hit in small]
    by_vectors = server.found(
        vector=vector_of(query), rerank_vector=vector_of(query, "large"), rerank=True, **FIELD
    )["hits"]
    assert [hit["usfm"] for hit in by_vectors] == [hit["usfm"] for hit in large]


def test_all_options_can_be_combined(server: Server) -> None:
    found = server.found(
        query="where you go I will go", rerank=True, hybrid=True, collapse=True, min_score=-1,
        top_k=15, corpus="bible", books=["Ruth", "Jonas"], chapter_from=1, chapter_to=4,
    )  # fmt: skip
    assert found["k_returned"] == 15
    verses = [hit["usfm"] for hit in found["hits"]]
    assert len(set(verses)) == 15


def test_a_vector_has_no_words_for_hybrid_search(server: Server) -> None:
    refused = server.retrieve(vector=vector_of("a storm"), hybrid=True)
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:rag-assets:problem:no-query"
    assert refused.json()["field"] == "hybrid"


def test_reranking_by_vector_needs_a_vector_of_the_large_space(server: Server) -> None:
    refused = server.retrieve(vector=vector_of("a storm"), rerank=True)
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:rag-assets:problem:no-large-vector"
    assert "halfvec(96)" in refused.json()["detail"]
    wrong = server.retrieve(
        vector=vector_of("a storm"), rerank=True, rerank_vector=vector_of("a storm")
    )
    assert wrong.status_code == 422
    assert "64 dimensions" in wrong.json()["detail"]
    assert "96" in wrong.json()["detail"]


def test_hybrid_search_keeps_what_the_vector_finds_first(server: Server) -> None:
    for query in ("the Lord is my shepherd", "\u201cThe Lord is my shepherd\u201d"):
        first = server.found(query=query, hybrid=True, language="en")["hits"][0]
        assert (first["usfm"], first["source"]) == ("PSA 23:1", "both")


def test_accents_may_be_left_out(server: Server) -> None:
    found = {
        query: {
            hit["usfm"]
            for hit in server.found(query=query, hybrid=True, language="pt", top_k=100)["hits"]
            if hit["source"] in ("text", "both")
        }
        for query in ("coracao", "coração")
    }
    assert found["coracao"] == found["coração"]
    assert found["coracao"] >= {"RUT 2:13", "PHM 1:7", "PHM 1:12", "PHM 1:20"}


def test_a_phrase_and_an_excluded_word_hold_for_every_hit(server: Server) -> None:
    plain = server.found(query="prayed to God", hybrid=True, language="en", top_k=50)["hits"]
    assert any("Jonah" in hit["text"] for hit in plain)
    without = server.found(query="prayed to God -Jonah", hybrid=True, language="en", top_k=50)
    assert without["hits"]
    assert not any("Jonah" in hit["text"] for hit in without["hits"])
    phrase = server.found(query='prayed "the LORD to shepherd me"', hybrid=True, top_k=50)["hits"]
    assert {hit["usfm"] for hit in phrase} == {"PSA 23:1"}


def test_a_request_sets_what_the_words_count(server: Server) -> None:
    asked = {"query": "whose sandal was it, and why did he pull it off?", "language": "en"}
    by_vector = [hit["usfm"] for hit in server.found(**asked)["hits"]]
    none = server.found(**asked, hybrid=True, text_weight=0.0)["hits"]
    assert [hit["usfm"] for hit in none] == by_vector
    words = server.found(**asked, hybrid=True, text_weight=1.0)["hits"]
    assert {hit["usfm"] for hit in words[:2]} == {"RUT 4:7", "RUT 4:8"}
    assert server.retrieve(**asked, hybrid=True, text_weight=1.5).status_code == 422
