"""Full text search: any word, with each version's stemming, within the filters."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from rag_assets.errors import SearchTimeoutError
from rag_assets.postgres.database import Database
from rag_assets.retrieval.sql.full_text import matching_verses
from rag_assets_tests.corpora import ALLOWED, load_version

ENGLISH = [
    "The fishermen were mending their nets",
    "A prayer went up from the city",
    "They prayed and prayed again",
    "Stones upon stones",
]
PORTUGUESE = [
    "Os pescadores consertavam as suas redes",
    "Uma oração subiu da cidade",
    "Os peixes eram muitos",
    "Pedra sobre pedra",
]


@pytest.fixture
def filled(database: Database) -> Database:
    """A version in English, one in Portuguese, one in a language without stems."""
    load_version(database, "EN_A", ENGLISH)
    load_version(database, "PT_A", PORTUGUESE, replace(ALLOWED, language="pt"))
    load_version(database, "EL_A", ["Ἐν ἀρχῇ ἦν ὁ λόγος"], replace(ALLOWED, language="el"))
    return database


def found(
    database: Database,
    query: str,
    *,
    scopes: tuple[str, ...] = ("EN_A", "PT_A", "EL_A"),
    limit: int = 10,
    books: tuple[str, ...] | None = None,
    chapters: tuple[int, int] | None = None,
) -> list[str]:
    """Texts of the verses found, best first."""
    with database.connect(autocommit=True) as connection:
        ids = matching_verses(
            connection, query, limit=limit, scopes=scopes, books=books, chapters=chapters,
            timeout_ms=60_000,
        )  # fmt: skip
        texts = dict(connection.execute("SELECT verse_id, text FROM verses").fetchall())
    return [texts[verse_id] for verse_id in ids]


def test_stems_are_those_of_the_versions_language(filled: Database) -> None:
    assert found(filled, "praying") == [ENGLISH[2]]
    assert found(filled, "prayers") == [ENGLISH[1]]
    assert found(filled, "pescador") == [PORTUGUESE[0]]
    assert found(filled, "peixe") == [PORTUGUESE[2]]
    assert found(filled, "λόγος") == ["Ἐν ἀρχῇ ἦν ὁ λόγος"]


def test_any_word_is_enough_and_more_of_them_rank_higher(filled: Database) -> None:
    asked = "prayer of the stones and the city"
    assert found(filled, asked) == [ENGLISH[1], ENGLISH[3]]
    assert found(filled, "pray", scopes=("EN_A",), limit=1) == [ENGLISH[2]]


def test_only_the_requested_scopes_books_and_chapters_are_searched(filled: Database) -> None:
    assert found(filled, "redes nets", scopes=("PT_A",)) == [PORTUGUESE[0]]
    assert found(filled, "nets", books=("GEN",)) == [ENGLISH[0]]
    assert found(filled, "nets", books=("EXO",)) == []
    assert found(filled, "nets", chapters=(1, 1)) == [ENGLISH[0]]
    assert found(filled, "nets", chapters=(2, 9)) == []
    assert found(filled, "nets", scopes=()) == []


@pytest.mark.parametrize(
    "query",
    ["", "   ", "the of", "!!!", "& | ! <-> ( )", "'", "\\", "a & !b", "x" * 8000, "\0", "%s",
     "http://a.b/c?d=1&e=2|f", "it's \"quoted\"", "\U0001f41f", "ab" * 1500 + " cd"],
)  # fmt: skip
def test_no_query_text_causes_an_error(filled: Database, query: str) -> None:
    assert found(filled, query) == []


def test_a_nul_character_separates_words(filled: Database) -> None:
    assert set(found(filled, "nets\0stones")) == {ENGLISH[0], ENGLISH[3]}


def test_the_server_cancels_in_time_and_the_connection_stays_usable(filled: Database) -> None:
    with (
        filled.connect() as blocker,
        filled.connect(autocommit=True) as connection,
    ):
        blocker.execute("LOCK TABLE verses IN ACCESS EXCLUSIVE MODE")
        freed = threading.Timer(30, blocker.cancel)  # never hang, whatever happens
        freed.start()
        with pytest.raises(SearchTimeoutError, match="more than 100 ms"):
            matching_verses(connection, "nets", limit=1, scopes=["EN_A"], timeout_ms=100)
        freed.cancel()
        blocker.rollback()
        assert len(matching_verses(connection, "nets", limit=1, scopes=["EN_A"])) == 1
        row = connection.execute("SHOW statement_timeout").fetchone()
    assert row == ("0",)
