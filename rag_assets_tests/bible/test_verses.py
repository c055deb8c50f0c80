"""Loading a version: ids stay, changes are exactly those of the source, gone verses take all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from rag_assets.bible.model import BibleText, Oddity, OddityKind, Verse
from rag_assets.bible.sql.embeddings import publish, stale_verses
from rag_assets.bible.sql.oddities import stored_oddities
from rag_assets.bible.sql.verses import VersesLoaded, load_verses, remove_version, stored_versions
from rag_assets.embedding.batching import text_hash
from rag_assets.errors import AuditError
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import ALLOWED, bible_of, load_version, sentences
from rag_assets_tests.vectors.vectors import answer_texts, space_of, unit_vectors

CODE = "EN_TEST"


def load(database: Database, bible: BibleText, *, source_hash: str = "h") -> VersesLoaded:
    with database.connect() as connection:
        return load_verses(connection, CODE, ALLOWED, bible, source_hash=source_hash, run_id="load")


def stored(database: Database) -> dict[tuple[int, int], tuple[int, int, str, bytes]]:
    """By chapter and verse: id, end of the bridge, text, hash."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT chapter, verse, verse_id, verse_end, text, text_hash FROM verses"
            " WHERE version_code = %s",
            (CODE,),
        ).fetchall()
    return {(row[0], row[1]): (row[2], row[3], row[4], bytes(row[5])) for row in rows}


def test_verses_are_stored_in_canonical_order_with_their_hashes(database: Database) -> None:
    verses = (
        Verse("MAT", 1, 1, 1, "The book of the generation"),
        Verse("GEN", 1, 1, 2, "In the beginning"),
    )
    assert load(database, BibleText("usfm", verses, 3, ())) == VersesLoaded(2, 2, 0, 0)
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT book, chapter, verse, verse_end, text, text_hash FROM verses ORDER BY verse_id"
        ).fetchall()
    assert rows == [
        ("GEN", 1, 1, 2, "In the beginning", text_hash("In the beginning")),
        ("MAT", 1, 1, 1, "The book of the generation", text_hash("The book of the generation")),
    ]


def test_loading_the_same_again_changes_nothing_and_keeps_every_id(database: Database) -> None:
    load(database, bible_of(sentences(60)))
    before = stored(database)
    assert load(database, bible_of(sentences(60))) == VersesLoaded(60, 0, 0, 0)
    assert stored(database) == before


def test_only_what_changed_is_written(database: Database) -> None:
    texts = sentences(60)
    load(database, bible_of(texts))
    before = stored(database)
    changed = ["A new beginning", *texts[1:59]]
    assert load(database, bible_of([*changed, "An end", "A new end"])) == VersesLoaded(61, 1, 2, 0)
    after = stored(database)
    assert {place: row[0] for place, row in after.items() if place in before} == {
        place: row[0] for place, row in before.items()
    }
    assert after[1, 1][2:] == ("A new beginning", text_hash("A new beginning"))
    assert {place for place in before if before[place] != after[place]} == {(1, 1), (2, 10)}


def test_a_bridge_that_ends_elsewhere_is_an_update_of_the_same_verse(database: Database) -> None:
    load(database, BibleText("usfm", (Verse("GEN", 1, 1, 1, "One"),), 1, ()))
    bridged = BibleText("usfm", (Verse("GEN", 1, 1, 3, "One"),), 3, ())
    before = stored(database)
    assert load(database, bridged) == VersesLoaded(1, 0, 1, 0)
    assert stored(database)[1, 1] == (before[1, 1][0], 3, "One", text_hash("One"))


def test_removed_verses_go_with_their_vectors_and_failures(
    database: Database, make_settings: MakeSettings
) -> None:
    texts = sentences(10)
    load(database, bible_of(texts))
    space = space_of(database, make_settings())
    with database.connect() as connection:
        stale = stale_verses(connection, space, CODE)
        answer_texts(connection, space, texts, unit_vectors(10, space))
        publish(connection, space, CODE, [verse.verse_id for verse in stale], run_id="r")
        connection.execute(
            "INSERT INTO embedding_failures (space_id, verse_id, text_hash, error_class, message,"
            " run_id) SELECT %s, verse_id, text_hash, 'X', 'refused', 'r' FROM verses",
            (space.space_id,),
        )
    assert load(database, bible_of(texts[:7])).deleted == 3
    with database.connect() as connection:
        left = connection.execute("SELECT count(*) FROM verse_embeddings_s1").fetchone()
        failures = connection.execute("SELECT count(*) FROM embedding_failures").fetchone()
    assert (left, failures) == ((7,), (7,))


def test_loads_of_one_version_at_once_end_in_one_of_them_whole(database: Database) -> None:
    texts = [sentences(300, word=word) for word in ("river", "stone", "field", "cloud")]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda one: load(database, bible_of(one)), texts))
    assert sorted((found.inserted, found.updated) for found in done) == [(0, 300)] * 3 + [(300, 0)]
    found = [row[2] for _, row in sorted(stored(database).items())]
    assert found in texts


def test_the_declaration_is_that_of_the_last_load(database: Database) -> None:
    load_version(database, CODE, sentences(3))
    changed = replace(ALLOWED, name="Another name", language="pt", ai_allowed=False)
    load_version(database, CODE, sentences(4), changed)
    with database.connect() as connection:
        (version,) = stored_versions(connection)
    assert version.declaration == changed
    assert (version.verses, version.reference_count, version.source_format) == (4, 4, "usfm")


def test_versions_are_apart_and_one_is_removed_alone(database: Database) -> None:
    load_version(database, "EN_ONE", sentences(3))
    load_version(database, "EN_TWO", sentences(5))
    with database.connect() as connection:
        assert remove_version(connection, "EN_ONE") == 3
        assert [(v.code, v.verses) for v in stored_versions(connection)] == [("EN_TWO", 5)]
        assert remove_version(connection, "EN_ONE") == 0


def test_a_source_with_one_verse_twice_is_refused_and_what_was_stored_stays(
    database: Database,
) -> None:
    load(database, bible_of(sentences(5)))
    before = stored(database)
    twice = (*bible_of(sentences(5)).verses, Verse("GEN", 1, 1, 1, "Again"))
    with pytest.raises(Exception, match=r"second time|would be stored"):
        load(database, BibleText("usfm", twice, 6, ()))
    assert stored(database) == before


def test_what_is_stored_beside_the_source_is_refused(database: Database) -> None:
    """A trigger that swallows a row stands for whatever may keep one out."""
    with database.connect() as connection:
        connection.execute(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN IF NEW.verse = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER t BEFORE INSERT ON verses FOR EACH ROW EXECUTE FUNCTION swallow()"
        )
    with pytest.raises(AuditError, match="5 verses were read but 4 would be stored"):
        load(database, bible_of(sentences(5)))
    assert stored(database) == {}


ODDITIES = (
    Oddity(OddityKind.SKIPPED_FILE, "a \udce9.htm", "a companion file"),
    Oddity(OddityKind.TITLE, "PSA 3:0", "left out: 'A Psalm \x00 of “David”'"),
    Oddity(OddityKind.MISSING_BOOK, "GEN"),
)


def found(database: Database, code: str = CODE) -> tuple[Oddity, ...] | None:
    with database.connect() as connection:
        return stored_oddities(connection, code)


def test_all_oddities_of_the_last_load_are_stored(database: Database) -> None:
    load(database, replace(bible_of(sentences(2)), oddities=ODDITIES))
    assert found(database) == (
        Oddity(OddityKind.SKIPPED_FILE, "a \\udce9.htm", "a companion file"),
        Oddity(OddityKind.TITLE, "PSA 3:0", "left out: 'A Psalm \\x00 of “David”'"),
        ODDITIES[2],
    )
    load(database, bible_of(sentences(2)))
    assert found(database) == ()
    assert found(database, "EN_NONE") is None


def test_oddities_count_only_for_the_load_that_found_them(database: Database) -> None:
    """A previous release that loads the version again does not know the column."""
    load(database, replace(bible_of(sentences(2)), oddities=ODDITIES))
    with database.connect() as connection:
        connection.execute("UPDATE bible_versions SET run_id = 'another'")
    assert found(database) is None


def test_the_book_of_an_oddity_is_that_of_its_reference() -> None:
    assert [oddity.book for oddity in ODDITIES] == [None, "PSA", "GEN"]
