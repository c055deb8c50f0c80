"""Searching released documents, alone and with the Bible."""

from __future__ import annotations

import pytest

from rag_assets.documents.sql.corpora import CorpusOptions, register_corpus
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.errors import NotReleasedError, RequestError
from rag_assets.postgres.database import Database
from rag_assets.retrieval.confinement import Confinement
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import SearchResult, search_text
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.documents.corpus import judge_all, publish_document
from rag_assets_tests.release.corpus import prepare, release_corpus, release_settings

MANUAL = [
    "Turn the valve clockwise until the pressure falls",
    "The pump must never run dry, or its bearings seize",
    "Grease the bearings of the pump every month",
]
CARTA = ["A bomba de água precisa de graxa", "Feche a válvula antes da limpeza"]


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return release_settings(make_settings)


@pytest.fixture
def documents(database: Database, settings: Settings) -> Database:
    """Two documents, one in Portuguese, released without a Bible."""
    publish_document(
        database, settings, "manual.pdf", MANUAL, title="Manual", heading=("Pumps",), paged=True
    )
    publish_document(database, settings, "carta.md", CARTA, language="pt", title="Carta")
    judge_all(database, settings)
    release_corpus(database, settings)
    return database


@pytest.fixture
def both(database: Database, settings: Settings) -> Database:
    """The same with sixty verses."""
    prepare(database, settings, "EN_A", sentences(60))
    publish_document(database, settings, "manual.pdf", MANUAL, title="Manual", paged=True)
    publish_document(database, settings, "carta.md", CARTA, language="pt", title="Carta")
    judge_all(database, settings)
    release_corpus(database, settings)
    return database


def ask(
    database: Database, settings: Settings, query: str, corpus: str = "documents", **asked: object
) -> SearchResult:
    request = SearchRequest(corpus=corpus, **asked)  # type: ignore[arg-type]
    return search_text(database, settings, query, request)


def keys(found: SearchResult) -> list[str | None]:
    """The document of each hit; ``None`` for a verse."""
    return [hit.document.key if hit.document else None for hit in found.hits]


def test_before_a_release_documents_are_not_found(database: Database, settings: Settings) -> None:
    publish_document(database, settings, "manual.pdf", MANUAL)
    with pytest.raises(NotReleasedError):
        ask(database, settings, MANUAL[0])
    prepare(database, settings)
    release_corpus(database, settings)
    with pytest.raises(RequestError, match="1 document is embedded but not in release 1: run"):
        ask(database, settings, MANUAL[0])
    assert keys(ask(database, settings, MANUAL[0], "both")) == [None] * 10


def test_a_passage_is_found_with_all_of_its_details(
    documents: Database, settings: Settings
) -> None:
    found = ask(documents, settings, MANUAL[1], top_k=3)
    assert (found.release_id, found.plan.kind, found.documents_plan) == (1, "exact", None)
    assert found.plan_name == "exact"
    first = found.hits[0]
    assert (first.rank, first.corpus, first.source) == (1, "documents", "vector")
    assert first.score == pytest.approx(1, abs=0.001)
    assert (first.text, first.language, first.reference) == (MANUAL[1], "en", "Manual, p. 2")
    assert first.document is not None
    place = first.document
    assert (place.key, place.title, place.page, place.heading, place.position) == (
        "manual.pdf",
        "Manual",
        2,
        ("Pumps",),
        2,
    )
    scores = [hit.score for hit in found.hits]
    assert scores == sorted(scores, reverse=True)


def test_a_hit_brings_the_passages_before_and_after_it(both: Database, settings: Settings) -> None:
    found = ask(both, settings, MANUAL[1], context=1)
    around = {
        hit.text: (hit.document.before, hit.document.after) for hit in found.hits if hit.document
    }
    assert around == {
        MANUAL[0]: ((), (MANUAL[1],)),
        MANUAL[1]: ((MANUAL[0],), (MANUAL[2],)),
        MANUAL[2]: ((MANUAL[1],), ()),
        CARTA[0]: ((), (CARTA[1],)),
        CARTA[1]: ((CARTA[0],), ()),
    }
    mixed = ask(both, settings, MANUAL[1], "both", top_k=20, context=1).hits
    assert {hit.document is None for hit in mixed} == {True, False}  # verses bring none
    assert mixed[0].document == found.hits[0].document
    (first, *_) = ask(both, settings, MANUAL[2], context=10).hits
    assert first.document is not None
    assert first.document.before == (MANUAL[0], MANUAL[1])
    (first, *_) = ask(both, settings, MANUAL[1]).hits
    assert first.document is not None
    assert (first.document.before, first.document.after) == ((), ())


def test_without_verses_both_selects_the_documents(documents: Database, settings: Settings) -> None:
    assert (
        ask(documents, settings, MANUAL[1], "both").hits == ask(documents, settings, MANUAL[1]).hits
    )
    missing = "release 1 has no Bible version: no Bible version is loaded"
    with pytest.raises(RequestError, match=missing) as caught:
        ask(documents, settings, MANUAL[1], "bible")
    assert caught.value.kind == "no-verses"


def test_filters_by_document_and_language(documents: Database, settings: Settings) -> None:
    query = MANUAL[1]
    assert set(keys(ask(documents, settings, query))) == {"manual.pdf", "carta.md"}
    assert set(keys(ask(documents, settings, query, language="pt-BR"))) == {"carta.md"}
    assert set(keys(ask(documents, settings, query, documents=("carta.md",)))) == {"carta.md"}
    few = ask(documents, settings, query, documents=("carta.md",))
    assert (len(few.hits), few.why_fewer) == (2, "nothing else matches")
    none = ask(documents, settings, query, documents=("carta.md",), language="en")
    assert none.hits == ()


def test_an_unknown_document_suggests_similar_keys(documents: Database, settings: Settings) -> None:
    with pytest.raises(RequestError, match=r"Did you mean manual\.pdf") as caught:
        ask(documents, settings, "a", documents=("carta.md", "manuel.pdf"))
    assert (caught.value.kind, caught.value.field) == ("unknown-document", "documents")
    assert caught.value.choices[0] == "manual.pdf"
    with pytest.raises(RequestError, match=r"'zzz'$"):
        ask(documents, settings, "a", documents=("zzz",))
    with pytest.raises(RequestError, match="no document is in language de"):
        ask(documents, settings, "a", language="de")


def test_a_new_document_is_found_within_the_active_release_and_in_its_language(
    documents: Database, settings: Settings
) -> None:
    publish_document(documents, settings, "brief.txt", ["Die Pumpe braucht Fett"], language="de")
    found = ask(documents, settings, "Die Pumpe braucht Fett", language="de")
    assert (found.release_id, keys(found)) == (1, ["brief.txt"])
    assert keys(ask(documents, settings, "Die Pumpe braucht Fett", top_k=1)) == ["brief.txt"]


def test_a_changed_document_is_found_with_its_current_text(
    documents: Database, settings: Settings
) -> None:
    publish_document(documents, settings, "carta.md", ["Nova carta"], language="pt", again=True)
    found = ask(documents, settings, CARTA[0], documents=("carta.md",))
    assert [hit.text for hit in found.hits] == ["Nova carta"]


def test_a_withdrawn_document_is_never_found(documents: Database, settings: Settings) -> None:
    with documents.connect() as connection:
        withdraw(connection, ["manual.pdf"], by="command")
    for hybrid in (False, True):
        found = ask(documents, settings, MANUAL[1], hybrid=hybrid)
        assert set(keys(found)) == {"carta.md"}
    with pytest.raises(RequestError, match=r"document 'manual\.pdf' was withdrawn: `rag-assets"):
        ask(documents, settings, "a", documents=("manual.pdf",))


def test_a_row_deleted_after_the_comparison_is_no_hit(
    documents: Database, settings: Settings
) -> None:
    with documents.connect() as connection:  # and its vectors still exist
        connection.execute(
            "UPDATE documents SET state = 'withdrawn', withdrawn_at = now(),"
            " withdrawn_by = 'inbox' WHERE document_key = 'manual.pdf'"
        )
    assert set(keys(ask(documents, settings, MANUAL[1]))) == {"carta.md"}


def test_full_text_search_uses_each_documents_language(
    documents: Database, settings: Settings
) -> None:
    found = ask(documents, settings, "válvulas", hybrid=True)
    assert (found.hits[0].text, found.hits[0].source) == (CARTA[1], "both")
    assert {hit.source for hit in found.hits} <= {"vector", "both", "text"}
    only = ask(documents, settings, "válvulas", hybrid=True, documents=("manual.pdf",))
    assert set(keys(only)) == {"manual.pdf"}


def test_collapsing_keeps_the_best_passage_of_each_document(
    documents: Database, settings: Settings
) -> None:
    found = ask(documents, settings, MANUAL[2], collapse=True)
    assert keys(found) == ["manual.pdf", "carta.md"]
    assert found.hits[0].text == MANUAL[2]


def test_collapsing_fetches_more_rows_if_one_document_has_many_passages(
    documents: Database, settings: Settings
) -> None:
    many = [f"The pump number {number} must never run dry" for number in range(60)]
    publish_document(documents, settings, "pumps.md", many)
    found = ask(documents, settings, many[0], collapse=True, top_k=3)
    assert len(found.hits) == 3
    assert keys(found)[0] == "pumps.md"
    assert set(keys(found)) == {"pumps.md", "manual.pdf", "carta.md"}
    assert ask(documents, settings, many[0], collapse=True, top_k=4).why_fewer


def test_the_minimum_score_applies_and_is_reported(documents: Database, settings: Settings) -> None:
    found = ask(documents, settings, MANUAL[0], min_score=0.9)
    assert [hit.text for hit in found.hits] == [MANUAL[0]]
    assert found.why_fewer == "4 further rows score under min_score 0.9"


def test_both_corpora_are_merged_by_score_with_a_plan_each(
    both: Database, settings: Settings
) -> None:
    texts = sentences(60)
    together = ask(both, settings, "the pump runs down to the sea", "both", top_k=20)
    assert together.documents_plan is not None
    assert together.plan_name == "exact+exact"
    scores = [hit.score for hit in together.hits]
    assert scores == sorted(scores, reverse=True)
    assert [hit.rank for hit in together.hits] == list(range(1, 21))
    alone = [
        hit
        for corpus in ("bible", "documents")
        for hit in ask(both, settings, "the pump runs down to the sea", corpus, top_k=20).hits
    ]
    best = sorted((hit.score for hit in alone), reverse=True)[:20]
    assert scores == pytest.approx(best, abs=1e-6)
    assert ask(both, settings, texts[7], "both").hits[0].text == texts[7]
    assert ask(both, settings, MANUAL[2], "both").hits[0].text == MANUAL[2]


def test_searching_only_the_bible_ignores_documents(both: Database, settings: Settings) -> None:
    found = ask(both, settings, MANUAL[2], "bible")
    assert keys(found) == [None] * 10
    assert found.documents_plan is None
    narrowed = ask(both, settings, MANUAL[2], "both", books=("GEN",))
    assert narrowed.hits == found.hits


def test_hybrid_search_covers_both_corpora(both: Database, settings: Settings) -> None:
    found = ask(both, settings, "bearings of the river", "both", hybrid=True, top_k=30)
    assert {hit.corpus for hit in found.hits} == {"bible", "documents"}
    assert found.hits[0].source == "both"


def test_collapsing_both_corpora_groups_by_verse_and_by_document(
    both: Database, settings: Settings
) -> None:
    found = ask(both, settings, MANUAL[2], "both", collapse=True, top_k=70)
    assert sorted(filter(None, keys(found))) == ["carta.md", "manual.pdf"]
    assert keys(found).count(None) == 60


def test_re_ranking_documents_needs_their_large_vectors(both: Database, settings: Settings) -> None:
    for corpus in ("documents", "both"):
        with pytest.raises(RequestError, match="no large vectors") as caught:
            ask(both, settings, "pump", corpus, rerank=True)
        assert caught.value.kind == "no-large-space"


def test_documents_with_large_vectors_are_re_ranked(database: Database, settings: Settings) -> None:
    roles = ("small", "large")
    publish_document(database, settings, "manual.pdf", MANUAL, roles=roles)
    publish_document(database, settings, "carta.md", CARTA, language="pt", roles=roles)
    judge_all(database, settings)
    release_corpus(database, settings)
    plain = ask(database, settings, "greasing pumps")
    again = ask(database, settings, "greasing pumps", rerank=True)
    assert {hit.text for hit in again.hits} == {hit.text for hit in plain.hits}
    assert [hit.score for hit in again.hits] != [hit.score for hit in plain.hits]
    scores = [hit.score for hit in again.hits]
    assert scores == sorted(scores, reverse=True)


def test_each_corpus_is_searched_by_its_name_once_it_is_released(
    documents: Database, settings: Settings
) -> None:
    """By every kind of filter, and never through a key that is confined to the other one."""
    with documents.connect() as connection:
        register_corpus(connection, CorpusOptions("handbook"))
    publish_document(documents, settings, "rules.md", [MANUAL[0], "Wear a hat"], corpus="handbook")
    mine, hybrid = ["manual.pdf", "carta.md"], {"hybrid": True, "collapse": True}
    for corpus in ("documents", "both"):  # what is not released is not found, in no way
        for how in ({"collapse": True}, {"language": "en", "collapse": True}, hybrid):
            assert set(keys(ask(documents, settings, MANUAL[0], corpus, **how))) <= set(mine)
    with pytest.raises(RequestError, match="handbook is not in the active release"):
        ask(documents, settings, MANUAL[0], "handbook")

    judge_all(documents, settings)
    assert release_corpus(documents, settings).verdict.corpora == ("documents", "handbook")
    found = ask(documents, settings, MANUAL[0], "handbook", **hybrid)
    assert keys(found) == ["rules.md"]
    assert found.hits[0].document is not None
    assert found.hits[0].document.corpus == "handbook"
    assert set(keys(ask(documents, settings, MANUAL[0], **hybrid))) == set(mine)
    assert set(keys(ask(documents, settings, MANUAL[0], "both"))) == {*mine, "rules.md"}
    with pytest.raises(RequestError, match="no document is in language pt"):
        ask(documents, settings, MANUAL[0], "handbook", language="pt")

    confined = Confinement(corpora=("handbook",))
    everything = ask(documents, settings, MANUAL[0], "both", confinement=confined)
    assert set(keys(everything)) == {"rules.md"}
    for asked in ({"corpus": "documents"}, {"corpus": "both", "documents": ("manual.pdf",)}):
        with pytest.raises(RequestError) as refused:
            ask(documents, settings, MANUAL[0], **asked, confinement=confined)
        assert refused.value.kind in ("not-for-this-key", "unknown-document")
        assert "carta" not in str(refused.value)
