"""Full text search: BM25 over the folded words of each language, within the filters."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pytest

from rag_assets.errors import SearchTimeoutError
from rag_assets.postgres.database import Database
from rag_assets.retrieval.sql import full_text
from rag_assets.retrieval.sql.full_text import Matches, matches
from rag_assets.retrieval.words import take_apart
from rag_assets.vectors.search_plan import RowFilter
from rag_assets_tests.corpora import ALLOWED, load_version

ENGLISH = [
    "The fishermen were mending their nets",
    "A prayer went up from the city",
    "They prayed and prayed again",
    "Stones upon stones",
    "The LORD is my shepherd; I shall not want.",
    "The LORD said to the shepherds of the hills: You are not my people, and no flock of mine.",
    "He leads me beside still waters.",
    "The waters were still high.",
]
PORTUGUESE = [
    "Os pescadores consertavam as suas redes",
    "Uma oração subiu da cidade",
    "Os peixes eram muitos",
    "Pedra sobre pedra",
    "Guarda o teu coração, não as águas",
]
CHINESE = ["摩西对神说：我是谁", "神呼叫说：摩西！摩西！", "西边有摩押人", "摩 西"]
KOREAN = ["모세가 하나님께 말하되", "모세는 올라갔더라", "세상을 사랑하사"]
JAPANESE = ["モーセは神に言った", "神は世を愛された"]
THAI = ["พระเจ้าทรงรักโลก", "โมเสสกราบทูล"]
HEBREW = ["שָׁלוֹם לָכֶם"]
GREEK = ["Ἐν ἀρχῇ ἦν ὁ λόγος"]
LANGUAGES = {
    "EN_A": ("en", ENGLISH), "PT_A": ("pt-BR", PORTUGUESE), "EL_A": ("el", GREEK),
    "ZH_A": ("zh-Hans", CHINESE), "KO_A": ("ko", KOREAN), "JA_A": ("ja", JAPANESE),
    "TH_A": ("th", THAI), "HE_A": ("he", HEBREW),
}  # fmt: skip


@pytest.fixture
def filled(database: Database) -> Database:
    """A version in each of several languages."""
    for code, (language, texts) in LANGUAGES.items():
        load_version(database, code, texts, replace(ALLOWED, language=language))
    return database


def searched(
    database: Database,
    query: str,
    *,
    scopes: Sequence[str] = tuple(LANGUAGES),
    limit: int = 10,
    near: Sequence[int] = (),
    matching: int = 1_000_000,
    books: tuple[str, ...] | None = None,
    chapters: tuple[int, int] | None = None,
    timeout_ms: int = 60_000,
) -> Matches:
    languages = sorted({LANGUAGES[code][0].partition("-")[0] for code in scopes})
    with database.connect(autocommit=True) as connection:
        row = connection.execute(
            "SELECT collect_text_statistics('bible', %s)", (list(scopes),)
        ).fetchone()
        assert row is not None
        return matches(
            connection, "bible", take_apart(query), statistics=row[0], languages=languages,
            rows=RowFilter(tuple(scopes), books=books, chapters=chapters), matching=matching,
            limit=limit, near=near, timeout_ms=timeout_ms,
        )  # fmt: skip


def texts_of(database: Database) -> dict[int, str]:
    with database.connect() as connection:
        return dict(connection.execute("SELECT verse_id, text FROM verses").fetchall())


def found(database: Database, query: str, **how: object) -> list[str]:
    """Texts of the verses found, best first; alike with and without the index."""
    texts = texts_of(database)
    by_index = searched(database, query, **how)  # type: ignore[arg-type]
    narrow = searched(database, query, **how, matching=1)  # type: ignore[arg-type]
    assert by_index == narrow
    return [texts[verse_id] for verse_id in by_index.ranked]


def test_stems_are_those_of_the_versions_language(filled: Database) -> None:
    assert found(filled, "praying") == [ENGLISH[2]]
    assert found(filled, "prayers") == [ENGLISH[1]]
    assert found(filled, "pescador") == [PORTUGUESE[0]]
    assert found(filled, "peixe") == [PORTUGUESE[2]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("coracao", PORTUGUESE[4]),
        ("CORAÇÃO", PORTUGUESE[4]),
        ("oracao", PORTUGUESE[1]),
        ("agua", PORTUGUESE[4]),
        ("ΛΟΓΟΣ", GREEK[0]),
        ("λογος", GREEK[0]),
        ("שלום", HEBREW[0]),
    ],
)
def test_case_and_accents_do_not_matter(filled: Database, query: str, expected: str) -> None:
    assert found(filled, query) == [expected]
    for form in ("NFC", "NFD", "NFKD"):
        assert found(filled, unicodedata.normalize(form, query)) == [expected]


def test_decomposed_passages_are_found_as_composed_ones_are(database: Database) -> None:
    load_version(
        database, "PT_A", [unicodedata.normalize("NFD", text) for text in PORTUGUESE],
        replace(ALLOWED, language="pt"),
    )  # fmt: skip
    for query in ("coração", "coracao", unicodedata.normalize("NFD", "coração")):
        (text,) = found(database, query, scopes=("PT_A",))
        assert unicodedata.normalize("NFC", text) == PORTUGUESE[4]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("摩西", {*CHINESE[:2]}),
        ("神", {*CHINESE[:2], *JAPANESE}),
        ("모세", {*KOREAN[:2]}),
        ("모세를", {*KOREAN[:2]}),
        ("モーセ", {JAPANESE[0]}),
        ("พระเจ้า", {THAI[0]}),
        ('"摩西对神"', {CHINESE[0]}),
    ],
)
def test_scripts_without_spaces_are_found_by_pairs_of_characters(
    filled: Database, query: str, expected: set[str]
) -> None:
    assert expected <= set(found(filled, query))
    best = found(filled, query, limit=len(expected))
    assert set(best) == expected


def test_rare_words_count_more_than_frequent_ones_and_short_passages_more_than_long(
    filled: Database,
) -> None:
    # Both hold a word of the query; "lord" is in two passages, "shepherd" in two, "want" in one.
    assert found(filled, "the Lord is my shepherd")[0] == ENGLISH[4]
    assert found(filled, "Lord want", limit=1) == [ENGLISH[4]]
    assert found(filled, "prayer of the stones and the city") == [ENGLISH[1], ENGLISH[3]]
    assert found(filled, "pray", scopes=("EN_A",), limit=1) == [ENGLISH[2]]


def test_a_phrase_in_quotes_is_required(filled: Database) -> None:
    assert set(found(filled, "still waters")) == {ENGLISH[6], ENGLISH[7]}
    assert found(filled, '"still waters"') == [ENGLISH[6]]
    assert found(filled, '"still waters" shepherd') == [ENGLISH[6]]
    assert found(filled, '"teu coracao"') == [PORTUGUESE[4]]
    assert found(filled, '"waters beside"') == []
    assert set(found(filled, 'a quote " alone: waters')) >= {ENGLISH[6], ENGLISH[7]}


def test_a_word_or_a_phrase_after_a_minus_is_excluded(filled: Database) -> None:
    assert found(filled, "shepherd -people") == [ENGLISH[4]]
    assert found(filled, 'waters -"still waters"') == [ENGLISH[7]]
    assert found(filled, "-shepherd") == []
    assert set(found(filled, "shepherd - people")) == {ENGLISH[4], ENGLISH[5]}
    assert set(found(filled, "good-shepherd")) == {ENGLISH[4], ENGLISH[5]}


def test_phrases_and_exclusions_hold_for_what_the_vectors_found(filled: Database) -> None:
    texts = texts_of(filled)

    def kept(query: str) -> set[str]:
        return {texts[row] for row in searched(filled, query, near=list(texts)).near}

    assert kept("shepherd") == set(texts.values())
    assert kept("shepherd -people") == set(texts.values()) - {ENGLISH[5]}
    assert kept("-águas") == set(texts.values()) - {PORTUGUESE[4]}
    assert kept('"still waters"') & set(ENGLISH) == {ENGLISH[6]}


def test_the_share_of_the_words_says_how_well_a_passage_fits(filled: Database) -> None:
    ids = {text: row for row, text in texts_of(filled).items()}
    same = searched(filled, ENGLISH[4], scopes=("EN_A",), near=[ids[ENGLISH[7]]])
    assert same.ranked[ids[ENGLISH[4]]] > 0.9
    assert same.near == {ids[ENGLISH[7]]: 0.0}
    other = searched(filled, "o Senhor said que nada me faltará", scopes=("EN_A",))
    assert max(other.ranked.values()) < 0.4


def test_only_the_requested_scopes_books_and_chapters_are_searched(filled: Database) -> None:
    assert found(filled, "redes nets", scopes=("PT_A",)) == [PORTUGUESE[0]]
    assert found(filled, "nets", books=("GEN",)) == [ENGLISH[0]]
    assert found(filled, "nets", books=("EXO",)) == []
    assert found(filled, "nets", chapters=(1, 1)) == [ENGLISH[0]]
    assert found(filled, "nets", chapters=(2, 9)) == []
    assert found(filled, "nets", scopes=()) == []


@pytest.mark.parametrize(
    "query",
    ["", "   ", "the of", "!!!", "& | ! <-> ( )", "'", "\\", "x" * 8000, "\0", "%s", '""', '-""',
     "http://a.b/c?d=1&e=2|f", 'it\'s "quoted"', "\U0001f41f", "ab" * 1500 + " cd", "{1:2}/3",
     "\u0301", "-\u0301", '"\u0301"', "\u0e31\u0e31", "'' \\' é'\\"],
)  # fmt: skip
def test_no_query_text_causes_an_error(filled: Database, query: str) -> None:
    assert found(filled, query, scopes=("EN_A",)) == []


def test_a_nul_character_separates_words(filled: Database) -> None:
    assert set(found(filled, "nets\0stones")) == {ENGLISH[0], ENGLISH[3]}


def test_a_word_in_too_many_passages_is_ranked_among_as_many_as_the_budget_allows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_version(database, "EN_A", [f"Lord God {place} verily" for place in range(60)])
    monkeypatch.setattr(full_text, "BUDGET", 20)
    assert len(searched(database, "Lord", scopes=("EN_A",), limit=100).ranked) == 20
    assert len(searched(database, "Lord", scopes=("EN_A",), limit=100, matching=60).ranked) == 60


def test_words_follow_their_passages(filled: Database) -> None:
    with filled.connect() as connection:
        connection.execute("UPDATE verses SET text = 'Uma rede' WHERE text = %s", (PORTUGUESE[2],))
    assert found(filled, "peixe") == []
    assert "Uma rede" in found(filled, "redes", scopes=("PT_A",))
    load_version(filled, "PT_A", PORTUGUESE[:1], replace(ALLOWED, language="pt-PT"))
    assert found(filled, "coracao") == []
    with filled.connect() as connection:
        left = connection.execute(
            "SELECT verse_id FROM verse_words EXCEPT SELECT verse_id FROM verses"
        )
        assert left.fetchall() == []


def test_a_version_declared_in_another_language_gets_its_stems(filled: Database) -> None:
    assert found(filled, "redes", scopes=("PT_A",)) == [PORTUGUESE[0]]
    load_version(filled, "PT_A", PORTUGUESE, replace(ALLOWED, language="xx"))
    with filled.connect() as connection:
        row = connection.execute(
            "SELECT DISTINCT language FROM verse_words WHERE version_code = 'PT_A'"
        ).fetchall()
    assert row == [("xx",)]


def test_the_server_cancels_in_time_and_the_connection_stays_usable(filled: Database) -> None:
    with filled.connect() as blocker, filled.connect(autocommit=True) as connection:
        how = {"statistics": None, "languages": ["en"], "rows": RowFilter(("EN_A",)),
               "matching": 10_000, "limit": 1}  # fmt: skip
        blocker.execute("LOCK TABLE verse_words IN ACCESS EXCLUSIVE MODE")
        freed = threading.Timer(30, blocker.cancel)  # never hang, whatever happens
        freed.start()
        with pytest.raises(SearchTimeoutError, match="more than 100 ms"):
            matches(connection, "bible", take_apart("nets"), **how, timeout_ms=100)  # type: ignore[arg-type]
        freed.cancel()
        blocker.rollback()
        assert len(matches(connection, "bible", take_apart("nets"), **how).ranked) == 1  # type: ignore[arg-type]
        row = connection.execute("SHOW statement_timeout").fetchone()
    assert row == ("0",)
