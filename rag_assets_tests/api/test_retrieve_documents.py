"""Documents over HTTP: their hits, their filters, both corpora in one answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import CARTA, MANUAL, Copy, corpus_settings, vector_of
from rag_assets_tests.api.server import RETRIEVE, Server, environment_of, serving, wait_until
from rag_assets_tests.api.test_problems import problem_of
from rag_assets_tests.documents.corpus import judge_all, publish_document
from rag_assets_tests.release.corpus import release_corpus


@pytest.fixture(scope="module")
def stocked_server(
    stocked: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service for all read-only tests."""
    with serving(tmp_path_factory.mktemp("stocked"), environment_of(copied(stocked))) as running:
        yield running


def test_a_passage_is_returned_with_its_document_and_place(stocked_server: Server) -> None:
    found = stocked_server.found(query=MANUAL[1], corpus="documents", top_k=2)
    first = found["hits"][0]
    assert first.pop("score") > 0.999
    assert first == {
        "rank": 1,
        "corpus": "documents",
        "document_corpus": "documents",
        "reference": "Manual, p. 2",
        "document": "manual.pdf",
        "title": "Manual",
        "page": 2,
        "heading": ["Pumps"],
        "position": 2,
        "language": "en",
        "text": MANUAL[1],
        "snippet": first["snippet"],
        "elements": None,
        "relevance": None,
        "source": "vector",
        "before": [],
        "after": [],
    }
    around = stocked_server.found(query=MANUAL[1], corpus="documents", top_k=1, context=1)
    assert around["hits"][0]["before"] == MANUAL[:1]
    assert around["hits"][0]["after"] == MANUAL[2:3]
    assert (found["release"], found["k_returned"]) == (2, 2)
    unused = dict.fromkeys(("generation", "probes", "lists", "candidates"))
    assert found["plan"] == {"kind": "exact", **unused}


def test_without_pages_the_heading_says_where(stocked_server: Server) -> None:
    first = stocked_server.found(query=CARTA[0], corpus="documents")["hits"][0]
    assert (first["reference"], first["page"], first["heading"]) == (
        "Carta: Bomba",
        None,
        ["Bomba"],
    )


def test_both_corpora_are_one_answer_ordered_by_score(stocked_server: Server) -> None:
    found = stocked_server.found(query="the pump of the great fish", top_k=20)
    assert {hit["corpus"] for hit in found["hits"]} == {"bible", "documents"}
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True)
    plan = found["plan"]
    assert plan["kind"] == "both"
    assert (plan["bible"]["kind"], plan["documents"]["kind"]) == ("ivfflat", "exact")
    assert plan["bible"]["generation"] == 1
    verse = next(hit for hit in found["hits"] if hit["corpus"] == "bible")
    assert set(verse) == {
        "rank", "corpus", "reference", "usfm", "version", "language", "text", "score", "source",
        "also", "snippet", "elements", "relevance",
    }  # fmt: skip


def test_the_bible_is_answered_as_if_there_were_no_documents(
    stocked_server: Server, server: Server
) -> None:
    for asked in ({"corpus": "bible"}, {"versions": ["EN_SAMPLE"]}, {"books": ["JON"]}):
        mine = stocked_server.found(query="a great fish", **asked)
        assert mine["hits"] == server.found(query="a great fish", **asked)["hits"]
        assert mine["plan"]["kind"] != "both"


def test_filters_restrict_to_documents_and_languages(stocked_server: Server) -> None:
    def documents(**asked: object) -> set[str]:
        hits = stocked_server.found(query="pump", top_k=100, **asked)["hits"]
        return {hit.get("document", hit.get("version")) for hit in hits}

    assert documents(documents=["carta.md"]) == {"carta.md"}
    assert documents(documents=["carta.md", "manual.pdf"]) == {"carta.md", "manual.pdf"}
    assert documents(corpus="documents", language="pt-BR") == {"carta.md"}
    assert documents(language="pt") == {"carta.md", "PT_SAMPLE"}


def test_a_get_and_a_vector_answer_the_same(stocked_server: Server) -> None:
    posted = stocked_server.found(query=MANUAL[0], corpus="documents", documents=["manual.pdf"])
    got = stocked_server.http.get(
        RETRIEVE,
        params={"query": MANUAL[0], "corpus": "documents", "documents": "manual.pdf"},
    )
    assert got.json()["hits"] == posted["hits"]
    given = stocked_server.found(vector=vector_of(MANUAL[0]), documents=["manual.pdf"])
    assert [hit["text"] for hit in given["hits"]] == [hit["text"] for hit in posted["hits"]]


def test_hybrid_and_collapse_work_for_documents(stocked_server: Server) -> None:
    found = stocked_server.found(query="válvulas", corpus="documents", hybrid=True)["hits"]
    assert (found[0]["text"], found[0]["source"]) == (CARTA[1], "both")
    one = stocked_server.found(query="pump", corpus="documents", collapse=True)["hits"]
    assert sorted(hit["document"] for hit in one) == ["carta.md", "manual.pdf"]


@pytest.mark.parametrize(
    ("asked", "kind", "field"),
    [
        ({"corpus": "documents", "books": ["RUT"]}, "not-of-documents", "books"),
        ({"corpus": "documents", "versions": ["EN_SAMPLE"]}, "not-of-documents", "versions"),
        ({"documents": ["manual.pdf"], "chapter_from": 1}, "not-of-documents", "chapter_from"),
        ({"corpus": "bible", "documents": ["manual.pdf"]}, "not-of-the-bible", "documents"),
        ({"corpus": "bible", "context": 2}, "not-of-the-bible", "context"),
        ({"documents": ["manuel.pdf"]}, "unknown-document", "documents"),
        ({"documents": ["\0"]}, "unknown-document", "documents"),
        ({"corpus": "documents", "language": "de"}, "unknown-language", "language"),
        ({"language": "de"}, "unknown-language", "language"),
        ({"corpus": "documents", "rerank": True}, "no-large-space", "rerank"),
    ],
)
def test_a_contradictory_request_is_a_problem_that_names_the_field(
    stocked_server: Server, asked: dict[str, object], kind: str, field: str
) -> None:
    found = problem_of(stocked_server.retrieve(query="pump", **asked), 422, kind)
    assert found["field"] == field


def test_an_unknown_document_suggests_similar_keys(stocked_server: Server) -> None:
    answer = stocked_server.retrieve(query="pump", documents=["manuel.pdf"])
    assert problem_of(answer, 422, "unknown-document")["choices"][0] == "manual.pdf"


def test_answers_are_counted_by_corpus_and_by_both_plans(stocked_server: Server) -> None:
    def counted(corpus: str, plan: str) -> float:
        labels = f'corpus="{corpus}",plan="{plan}",status="200"'
        return stocked_server.metrics().get(f"rag_retrieve_total{{{labels}}}", 0)

    before = counted("both", "ivfflat+exact"), counted("documents", "exact")
    stocked_server.found(query="pump")
    stocked_server.found(query="pump", corpus="documents")
    after = counted("both", "ivfflat+exact"), counted("documents", "exact")
    assert after == (before[0] + 1, before[1] + 1)


def test_the_openapi_document_describes_both_kinds_of_hits(stocked_server: Server) -> None:
    schemas = stocked_server.http.get("/openapi.json").json()["components"]["schemas"]
    hits = schemas["RetrieveResponse"]["properties"]["hits"]["items"]
    assert set(hits["discriminator"]["mapping"]) == {"bible", "documents"}
    assert schemas["RetrieveResponse"]["properties"]["plan"]["discriminator"]["mapping"].keys() == {
        "exact",
        "codes",
        "ivfflat",
        "iterative",
        "both",
    }


@pytest.mark.slow
def test_added_and_withdrawn_documents_need_no_release(
    stocked: Database, copied: Copy, tmp_path: Path
) -> None:
    database = copied(stocked)
    with serving(tmp_path, environment_of(database)) as server:
        settings = corpus_settings(database)
        german = "Die Pumpe braucht Fett"
        publish_document(database, settings, "brief.txt", [german], language="de")
        found = server.found(query=german, corpus="documents", language="de")
        assert (found["release"], found["hits"][0]["document"]) == (2, "brief.txt")
        assert server.found(query=german, documents=["brief.txt"])["k_returned"] == 1
        with database.connect() as connection:
            withdraw(connection, ["brief.txt"], by="command")
        hits = server.found(query=german, corpus="documents")["hits"]
        assert "brief.txt" not in {hit["document"] for hit in hits}
        answer = server.retrieve(query=german, documents=["brief.txt"])
        problem_of(answer, 422, "document-not-searchable")


@pytest.mark.slow
def test_documents_alone_are_served_without_any_version(
    template_database: Database, copied: Copy, tmp_path: Path
) -> None:
    database = copied(template_database)
    settings = corpus_settings(database, rag_index_min_rows=100)
    publish_document(database, settings, "manual.pdf", MANUAL)
    judge_all(database, settings)
    release_corpus(database, settings)
    with serving(tmp_path, environment_of(database)) as server:
        wait_until(lambda: server.http.get("/readyz").status_code == 200)
        assert server.found(query="pump")["k_returned"] == 3
        problem_of(server.retrieve(query="pump", corpus="bible"), 422, "no-verses")
