"""``/api/v1/corpus``: what can be searched now, and nothing else."""

from __future__ import annotations

import httpx
import pytest

from rag_assets.bible.reader import read_bible
from rag_assets.errors import RequestError
from rag_assets.postgres.database import Database
from rag_assets.retrieval.contents import contents
from rag_assets.retrieval.passages import fetch_verses
from rag_assets.retrieval.released import served_now
from rag_assets.retrieval.request import SearchRequest
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets_tests.api.conftest import CARTA, MANUAL, Copy, corpus_settings, verse_text
from rag_assets_tests.api.server import CORPUS, VERSES, Server
from rag_assets_tests.conftest import SAMPLES


def test_versions_books_and_languages_are_listed_with_their_counts(server: Server) -> None:
    found = server.http.get(CORPUS).raise_for_status().json()
    assert (found["release"], found["documents"]) == (1, None)
    english, portuguese = found["versions"]
    verses = read_bible(SAMPLES / "EN_SAMPLE").verses
    both = [*verses, *read_bible(SAMPLES / "PT_SAMPLE").verses]
    assert english["version"] == "EN_SAMPLE"
    assert english["verses"] == portuguese["verses"] == len(verses)
    assert set(english["books"]) == {verse.book for verse in verses}
    ruth = next(book for book in found["books"] if book["book"] == "RUT")
    count = sum(verse.book == "RUT" for verse in both)
    assert ruth == {
        "book": "RUT", "name": "Ruth", "name_pt": "Rute", "versions": 2, "verses": count,
    }  # fmt: skip
    assert [book["book"] for book in found["books"]] == english["books"]
    assert [(one["language"], one["versions"]) for one in found["languages"]] == [
        *(("en", 1), ("pt", 1)),
    ]
    assert found["plan"]["kind"] == "ivfflat"
    for version in found["versions"]:  # what is listed can be searched
        for book in version["books"]:
            assert server.found(query="x", versions=[version["version"]], books=[book])["hits"]


def test_verses_stand_side_by_side(server: Server) -> None:
    def beside(reference: str, *versions: str) -> httpx.Response:
        return server.http.get(VERSES, params={"reference": reference, "versions": versions})

    found = beside("Jonas 1:17", "PT_SAMPLE", "EN_SAMPLE").raise_for_status().json()
    assert [(one["version"], one["usfm"], one["text"]) for one in found["verses"]] == [
        (code, "JON 1:17", verse_text(code, "JON", 1, 17)) for code in ("PT_SAMPLE", "EN_SAMPLE")
    ]
    chapter = beside("RUT 4").raise_for_status().json()["verses"]
    assert {one["version"] for one in chapter} == {"EN_SAMPLE", "PT_SAMPLE"}
    absent = beside("RUT 4:99", "EN_SAMPLE").raise_for_status().json()
    assert (absent["verses"], absent["missing"]) == ([], ["EN_SAMPLE"])
    for refused, kind in ((beside("Jonah"), "bad-reference"),
                          (beside("JON 1:1", "EN_SAMPL"), "unknown-version")):  # fmt: skip
        assert refused.status_code == 422
        assert refused.json()["type"].endswith(kind)


def test_documents_are_counted_and_listed_page_by_page(stocked: Database, copied: Copy) -> None:
    database = copied(stocked)
    settings = corpus_settings(database)
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        served = served_now(connection, settings)
        everything = SearchRequest(corpus="both")
        first = contents(connection, served, everything, exact_rows=None, limit=1)
        rest = contents(
            connection, served, everything, exact_rows=None, limit=5, after=first.next or ""
        )
        assert [one.key for one in (*first.listed, *rest.listed)] == ["carta.md", "manual.pdf"]
        assert (first.next, rest.next) == ("carta.md", None)
        counts = {one.language: (one.documents, one.passages) for one in first.documents}
        assert counts == {"en": (1, len(MANUAL)), "pt": (1, len(CARTA))}
        connection.execute("UPDATE documents SET chunks = 0 WHERE document_key = 'carta.md'")
        none = contents(connection, served, everything, exact_rows=None, limit=0)
        assert ([one.language for one in none.documents], none.listed) == (["en"], ())
        german = SearchRequest(corpus="both", language="de")
        with pytest.raises(RequestError, match="language de"):
            contents(connection, served, german, exact_rows=None, limit=1)


def test_a_withheld_version_is_neither_listed_nor_fetched(
    bilingual: Database, copied: Copy
) -> None:
    database = copied(bilingual)
    settings = corpus_settings(database, rag_allowed_versions="PT_SAMPLE")
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        served = served_now(connection, settings)
        found = contents(connection, served, SearchRequest(corpus="both"), exact_rows=None, limit=0)
        assert [one.named.version for one in found.versions] == ["PT_SAMPLE"]
        asked = SearchRequest(versions=("EN_SAMPLE",))
        with pytest.raises(RequestError, match="may not be served"):
            fetch_verses(connection, served, asked, "RUT 1:1")
