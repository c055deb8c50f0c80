"""Publishing: audited, visible at once or not at all; and the counts that the checks judge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from psycopg import sql

from rag_assets.bible.sql.embeddings import (
    Published,
    failures,
    publish,
    record_failures,
    stale_verses,
)
from rag_assets.bible.sql.quality import count_verse_faults
from rag_assets.errors import AuditError
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.faults import FaultCounts
from rag_assets.vectors.sql.spaces import Space
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import ALLOWED, load_version, sentences
from rag_assets_tests.vectors.vectors import answer_texts, count_rows, space_of, unit_vectors

CODE = "EN_TEST"
PUBLISHED = "verse_embeddings_s1"
ANSWERS = "answered_texts_s1"


@pytest.fixture(params=["halfvec", "vector"])
def space(request: pytest.FixtureRequest, database: Database, make_settings: MakeSettings) -> Space:
    """A small one, so that each vector is short: 8 dimensions."""
    precision: Precision = request.param
    return space_of(
        database,
        make_settings(rag_embedding_small_dimensions=8, rag_embedding_precision=precision),
    )


@pytest.fixture
def half(database: Database, make_settings: MakeSettings) -> Space:
    """Where the precision does not matter."""
    return space_of(database, make_settings(rag_embedding_small_dimensions=8))


def publish_all(database: Database, space: Space, code: str = CODE, run_id: str = "r") -> Published:
    with database.connect() as connection:
        stale = stale_verses(connection, space, code)
        return publish(connection, space, code, [verse.verse_id for verse in stale], run_id=run_id)


def buy(database: Database, space: Space, texts: list[str], seed: int = 1) -> np.ndarray:
    vectors = unit_vectors(len(texts), space, seed=seed)
    with database.connect() as connection:
        answer_texts(connection, space, texts, vectors)
    return vectors


def embed(database: Database, space: Space, texts: list[str], code: str = CODE) -> np.ndarray:
    """Load, answer and publish these texts."""
    load_version(database, code, texts)
    vectors = buy(database, space, texts)
    publish_all(database, space, code)
    return vectors


def published(database: Database) -> dict[str, np.ndarray]:
    """Vectors by the text of their verse; the last one where a text occurs twice."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT text, embedding::text FROM verse_embeddings_s1 JOIN verses USING (verse_id)"
        ).fetchall()
    return {row[0]: np.array([float(x) for x in row[1][1:-1].split(",")]) for row in rows}


def test_every_verse_gets_the_vector_of_its_own_text(database: Database, space: Space) -> None:
    texts = sentences(30)
    load_version(database, CODE, [*texts, *texts[:5]])
    vectors = buy(database, space, texts)
    assert publish_all(database, space) == Published(from_answers=35, reused=0)
    found = published(database)
    assert set(found) == set(texts)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.allclose(found[text], vector, atol=1e-3)
    assert count_rows(database, PUBLISHED) == 35
    assert count_rows(database, ANSWERS) == 0, "what is published is not kept twice"


def test_a_row_repeats_what_filters_need_and_names_its_run(database: Database, half: Space) -> None:
    embed(database, half, sentences(60))
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT version_code, language, book, chapter, run_id"
            " FROM verse_embeddings_s1 ORDER BY chapter"
        ).fetchall()
    assert rows == [(CODE, "en", "GEN", 1, "r"), (CODE, "en", "GEN", 2, "r")]


def test_a_text_known_from_another_version_is_reused(database: Database, half: Space) -> None:
    texts = sentences(10)
    vectors = embed(database, half, texts, "EN_FIRST")
    load_version(database, CODE, [*texts[:4], "Something of its own"])
    assert publish_all(database, half) == Published(from_answers=0, reused=4)
    with database.connect() as connection:
        left = stale_verses(connection, half, CODE)
        same = connection.execute(
            "SELECT count(*), count(DISTINCT embedding::text) FROM verse_embeddings_s1"
        ).fetchone()
    assert [verse.text for verse in left] == ["Something of its own"]
    assert same == (14, 10)
    assert np.allclose(published(database)[texts[0]], vectors[0], atol=1e-3)


def test_a_new_answer_wins_over_a_known_vector(database: Database, half: Space) -> None:
    texts = sentences(3)
    embed(database, half, texts)
    newest = buy(database, half, texts, seed=3)
    with database.connect() as connection:
        every = stale_verses(connection, half, CODE, every=True)
        ids = [verse.verse_id for verse in every]
        assert publish(connection, half, CODE, ids, run_id="again") == Published(3, 0)
    for text, vector in zip(texts, newest, strict=True):
        assert np.allclose(published(database)[text], vector, atol=1e-3)
    assert count_rows(database, ANSWERS) == 0


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda row: row * 1.02, "of 5 vectors 0 have another dimension and 1 are not normalised"),
        (lambda row: row * 0.98, "1 are not normalised"),
        (lambda row: row * 0.0, "1 are not normalised"),
    ],
    ids=["too long", "too short", "zero"],
)
def test_the_audit_refuses_a_vector_that_is_not_normalised_and_nothing_becomes_visible(
    database: Database,
    space: Space,
    spoil: Callable[[np.ndarray], np.ndarray],
    sentence: str,
) -> None:
    texts = sentences(5)
    load_version(database, CODE, texts)
    vectors = unit_vectors(5, space)
    vectors[3] = spoil(vectors[3])
    with database.connect() as connection:
        answer_texts(connection, space, texts, vectors)
    with pytest.raises(AuditError, match=sentence) as caught:
        publish_all(database, space)
    assert "nothing was published" in str(caught.value)
    assert count_rows(database, PUBLISHED) == 0
    assert count_rows(database, ANSWERS) == 5


def test_the_audit_refuses_another_dimension_where_the_column_does_not(
    database: Database, space: Space
) -> None:
    load_version(database, CODE, ["Short"])
    with database.connect() as connection:
        for table in (PUBLISHED, ANSWERS):
            untype(connection, space, table)
        answer_texts(connection, space, ["Short"], np.array([[1.0, 0.0]], dtype=np.float32))
    with pytest.raises(AuditError, match="of 1 vectors 1 have another dimension"):
        publish_all(database, space)
    assert count_rows(database, PUBLISHED) == 0


def test_an_audit_that_fails_leaves_the_vectors_of_before(database: Database, half: Space) -> None:
    texts = sentences(5)
    before = embed(database, half, texts)
    with database.connect() as connection:
        answer_texts(connection, half, texts, 2 * unit_vectors(5, half, seed=2))

    def overwrite() -> None:
        with database.connect() as connection:
            every = stale_verses(connection, half, CODE, every=True)
            publish(connection, half, CODE, [verse.verse_id for verse in every], run_id="bad")

    with pytest.raises(AuditError):
        overwrite()
    assert np.allclose(published(database)[texts[2]], before[2], atol=1e-3)


def test_readers_see_a_version_whole_or_not_at_all(database: Database, half: Space) -> None:
    texts = sentences(50)
    load_version(database, CODE, texts)
    buy(database, half, texts)
    with database.connect() as connection:
        ids = [verse.verse_id for verse in stale_verses(connection, half, CODE)]
        publish(connection, half, CODE, ids, run_id="r")
        assert count_rows(database, PUBLISHED) == 0, "another session sees nothing yet"
    assert count_rows(database, PUBLISHED) == 50


def test_versions_with_the_same_texts_are_published_at_once_without_a_deadlock(
    database: Database, half: Space
) -> None:
    """Both use up the same answers, found in opposite orders, slowly enough to meet half-way."""
    texts = sentences(60)
    load_version(database, "EN_ONE", texts)
    load_version(database, "EN_TWO", texts[::-1])
    buy(database, half, texts)
    with database.connect() as connection:
        for plan in ("hashjoin", "mergejoin", "seqscan"):  # as with large tables: by verse
            connection.execute(f"ALTER DATABASE {database.name} SET enable_{plan} = off")  # type: ignore[arg-type]
        connection.execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(0.005); RETURN OLD; END $$"
        )
        connection.execute(
            "CREATE TRIGGER slow BEFORE DELETE ON answered_texts_s1 FOR EACH ROW"
            " EXECUTE FUNCTION dawdle()"
        )
    together = threading.Barrier(2)

    def publish_one(code: str) -> Published:
        with database.connect() as connection:
            ids = [verse.verse_id for verse in stale_verses(connection, half, code)]
            together.wait(10)
            return publish(connection, half, code, ids, run_id=f"run of {code}")

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(publish_one, ["EN_ONE", "EN_TWO"]))
    assert [found.from_answers + found.reused for found in done] == [60, 60]
    assert count_rows(database, PUBLISHED) == 120
    assert count_rows(database, ANSWERS) == 0


def test_an_answer_that_arrives_in_the_middle_of_a_publication_leaves_no_verse_out(
    database: Database, half: Space
) -> None:
    """Another run overwrites the same text elsewhere, and keeps its answer at that moment."""
    embed(database, half, ["Known"], "EN_OTHER")
    load_version(database, CODE, ["Known"])
    with (
        database.connect(autocommit=True) as holder,
        database.connect() as publisher,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute(
            "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END $$"
        )
        holder.execute(
            "CREATE TRIGGER pause AFTER INSERT ON verse_embeddings_s1"
            " FOR EACH STATEMENT EXECUTE FUNCTION pause()"
        )
        holder.execute("SELECT pg_advisory_lock(77)")
        ids = [verse.verse_id for verse in stale_verses(publisher, half, CODE)]
        publishing = pool.submit(publish, publisher, half, CODE, ids, run_id="r")
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while holder.execute(waiting).fetchone() == (0,):
            holder.execute("SELECT pg_sleep(0.01)")
        buy(database, half, ["Known"], seed=2)
        holder.execute("SELECT pg_advisory_unlock(77)")
        assert publishing.result(10) == Published(0, 1)
    assert count_rows(database, ANSWERS) == 1, "it stays for the run that bought it"
    with database.connect() as connection:
        assert stale_verses(connection, half, CODE) == ()


def test_a_verse_that_went_meanwhile_is_left_out_and_one_that_changed_waits(
    database: Database, half: Space
) -> None:
    texts = sentences(5)
    load_version(database, CODE, texts)
    buy(database, half, texts)
    with database.connect() as connection:
        ids = [verse.verse_id for verse in stale_verses(connection, half, CODE)]
    load_version(database, CODE, ["Changed meanwhile", *texts[1:4]])
    with database.connect() as connection:
        assert publish(connection, half, CODE, ids, run_id="r") == Published(3, 0)
        left = stale_verses(connection, half, CODE)
    assert [verse.text for verse in left] == ["Changed meanwhile"]


def test_only_verses_of_the_version_are_published(database: Database, half: Space) -> None:
    load_version(database, "EN_OTHER", ["Same text"])
    load_version(database, CODE, ["Same text"])
    buy(database, half, ["Same text"])
    with database.connect() as connection:
        ids = [row[0] for row in connection.execute("SELECT verse_id FROM verses").fetchall()]
        assert publish(connection, half, CODE, ids, run_id="r") == Published(1, 0)
        rows = connection.execute("SELECT version_code FROM verse_embeddings_s1").fetchall()
    assert rows == [(CODE,)]


# What is stale


def test_without_a_space_every_verse_is_stale(database: Database) -> None:
    load_version(database, CODE, sentences(3))
    with database.connect() as connection:
        stale = stale_verses(connection, None, CODE)
    assert [verse.reference for verse in stale] == ["GEN 1:1", "GEN 1:2", "GEN 1:3"]


def test_only_missing_and_changed_verses_are_stale_in_canonical_order(
    database: Database, half: Space
) -> None:
    texts = sentences(60)
    embed(database, half, texts)
    texts[54], texts[2] = "Changed later", "Changed early"
    load_version(database, CODE, [*texts, "New"])
    with database.connect() as connection:
        stale = stale_verses(connection, half, CODE)
        limited = stale_verses(connection, half, CODE, limit=2)
        every = stale_verses(connection, half, CODE, every=True, limit=2)
    assert [verse.reference for verse in stale] == ["GEN 1:3", "GEN 2:5", "GEN 2:11"]
    assert limited == stale[:2]
    assert [verse.reference for verse in every] == ["GEN 1:1", "GEN 1:2"]


def test_a_version_that_declares_another_language_is_written_anew_without_buying(
    database: Database, half: Space
) -> None:
    """Searches filter by the language in the row of the vector."""
    texts = sentences(4)
    embed(database, half, texts)
    load_version(database, CODE, texts, replace(ALLOWED, language="pt"))
    assert publish_all(database, half, run_id="second") == Published(0, 4)
    with database.connect() as connection:
        rows = connection.execute("SELECT DISTINCT language FROM verse_embeddings_s1").fetchall()
        assert stale_verses(connection, half, CODE) == ()
    assert rows == [("pt",)]


# Failures


def test_failures_are_shown_by_reference_until_the_text_changes_or_is_embedded(
    database: Database, half: Space
) -> None:
    texts = ["Bad", "Good", "Bad", "Worse"]
    load_version(database, CODE, texts)
    with database.connect() as connection:
        stale = stale_verses(connection, half, CODE)
        reasons = {
            stale[0].text_hash: ("InputRejectedError", "refused"),
            stale[3].text_hash: ("InputRejectedError", "refused, too"),
        }
        record_failures(connection, half, stale, reasons, run_id="r")
        record_failures(connection, half, stale, reasons, run_id="again")
        assert failures(connection, half, CODE) == (
            "GEN 1:1: refused",
            "GEN 1:3: refused",
            "GEN 1:4: refused, too",
        )
    load_version(database, CODE, [*texts[:3], "Better"])
    with database.connect() as connection:
        assert len(failures(connection, half, CODE)) == 2
    buy(database, half, ["Bad"])
    publish_all(database, half)
    with database.connect() as connection:
        assert failures(connection, half, CODE) == ()


# Quality: each fault caused in the tables


def untype(connection: Connection, space: Space, table: str) -> None:
    """Take the dimension out of the column's type, as a careless migration might."""
    connection.execute(
        sql.SQL("ALTER TABLE {} ALTER COLUMN embedding TYPE {}").format(
            sql.Identifier(table), sql.SQL(space.spec.precision)
        )
    )


def judged(database: Database, space: Space) -> FaultCounts:
    with database.connect() as connection:
        return count_verse_faults(connection, space, CODE)


def test_a_version_without_fault_has_nothing_but_its_counts(
    database: Database, space: Space
) -> None:
    embed(database, space, sentences(20))
    assert judged(database, space) == FaultCounts(20, 20, 0, 0, 0, 0, {})


def test_a_version_that_is_not_there_has_no_verses(database: Database, half: Space) -> None:
    assert judged(database, half) == FaultCounts(0, 0, 0, 0, 0, 0, {})


@pytest.mark.parametrize(
    ("cause", "count", "example"),
    [
        ("DELETE FROM verse_embeddings_s1 WHERE verse_id = {id}", "missing", "no vector"),
        (
            "UPDATE verses SET text = 'Changed.' WHERE verse_id = {id}",
            "stale",
            "vector of an earlier text",
        ),
        (
            "UPDATE verse_embeddings_s1 SET embedding = '[0.6,0.8]' WHERE verse_id = {id}",
            "wrong_dimension",
            "dimension 2",
        ),
        (
            "UPDATE verse_embeddings_s1 SET embedding = '[0,0,3,0,0,0,0,0]' WHERE verse_id = {id}",
            "wrong_norm",
            "norm 3.0000",
        ),
        (
            "UPDATE verse_embeddings_s1 SET embedding = '[0,0,0,0,0,0,0,0]' WHERE verse_id = {id}",
            "wrong_norm",
            "norm 0.0000",
        ),
    ],
    ids=["missing", "stale", "dimension", "norm", "zero"],
)
def test_each_fault_is_counted_and_shown_by_the_reference_of_its_verse(
    database: Database, space: Space, cause: str, count: str, example: str
) -> None:
    embed(database, space, sentences(20))
    with database.connect() as connection:
        untype(connection, space, PUBLISHED)
        row = connection.execute("SELECT verse_id FROM verses WHERE verse = 7").fetchone()
        assert row is not None
        connection.execute(cause.format(id=row[0]))  # type: ignore[arg-type]
    found = judged(database, space)
    faultless = FaultCounts(20, 20 - (count == "missing"), 0, 0, 0, 0, {})
    shown = {count: (f"GEN 1:7: {example}",)}
    assert found == replace(faultless, examples=shown, **{count: 1})


def test_ten_examples_are_enough(database: Database, half: Space) -> None:
    load_version(database, CODE, sentences(30))
    found = judged(database, half)
    shown = found.examples["missing"]
    assert (found.missing, found.embedded, len(shown)) == (30, 0, 10)
    assert shown[9] == "GEN 1:10: no vector"


def test_the_norm_may_be_off_by_a_hundredth(database: Database, space: Space) -> None:
    embed(database, space, sentences(4))
    with database.connect() as connection:
        for verse, norm in enumerate([0.9895, 0.9905, 1.0095, 1.0105], start=1):
            connection.execute(
                "UPDATE verse_embeddings_s1 SET embedding = %s FROM verses v"
                " WHERE v.verse_id = verse_embeddings_s1.verse_id AND verse = %s",
                (str([norm, *[0] * 7]), verse),
            )
    found = judged(database, space)
    assert found.wrong_norm == 2
    assert [row.split(":")[1] for row in found.examples["wrong_norm"]] == ["1", "4"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e39"])
def test_the_database_itself_keeps_out_what_is_not_finite(
    database: Database, space: Space, value: str
) -> None:
    embed(database, space, sentences(1))
    with database.connect() as connection, pytest.raises(psycopg.DataError):
        connection.execute(
            "UPDATE verse_embeddings_s1 SET embedding = %s", (f"[{value},0,0,0,0,0,0,0]",)
        )
