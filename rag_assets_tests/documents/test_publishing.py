"""Publishing a document: atomic, unchanged chunks are kept, and nothing is used twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rag_assets.documents.sql.documents import lacks_vectors, stored_document
from rag_assets.documents.sql.publishing import publish
from rag_assets.embedding.batching import text_hash
from rag_assets.errors import AuditError
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import documents_table, revision
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import (
    answer,
    change,
    chunked,
    make_ready,
    process,
    publication,
    queue,
    row,
    take,
)
from rag_assets_tests.vectors.vectors import answer_texts, count_rows, space_of, unit_vectors

VECTORS = "chunk_embeddings_s1"
ANSWERS = "answered_texts_s1"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(rag_embedding_small_dimensions=64)


@pytest.fixture
def space(database: Database, settings: Settings) -> Space:
    return space_of(database, settings)


def stored(database: Database, key: str) -> list[tuple[int, str]]:
    """(chunk_id, text) in order, after checking each chunk's vector and language."""
    with database.connect() as connection:
        rows = connection.execute(
            """
            SELECT c.chunk_id, c.text, c.position, e.text_hash = c.text_hash
                   AND e.document_id = c.document_id AND e.language = c.language
                   AND e.collection = 'documents'
              FROM document_chunks c JOIN documents d USING (document_id)
              LEFT JOIN chunk_embeddings_s1 e USING (chunk_id)
             WHERE document_key = %s ORDER BY position
            """,
            (key,),
        ).fetchall()
    assert [found[2] for found in rows] == list(range(1, len(rows) + 1))
    assert all(found[3] for found in rows)
    return [(found[0], found[1]) for found in rows]


def texts_of(database: Database, key: str) -> list[str]:
    return [text for _, text in stored(database, key)]


def test_a_published_document_is_ready_with_its_chunks_and_vectors(
    database: Database, space: Space
) -> None:
    published = make_ready(database, space, "a", ["one two", "three", "four"])
    assert (published.added, published.removed, published.vectors) == (3, 0, 3)
    assert texts_of(database, "a") == ["one two", "three", "four"]
    document = row(database, "a")
    assert (document.state, document.lease_until, document.error) == ("ready", None, None)
    assert (document.title, document.media_type, document.language) == (
        "A title",
        "text/plain",
        "en",
    )
    assert (document.pages, document.chunks, document.tokens) == (1, 3, 4)
    assert (document.cost_usd, document.chunking) == (0.5, "v1")
    assert document.stored_hash == document.content_hash
    assert document.seconds is not None
    assert set(document.seconds) == {"extract", "chunk", "store"}
    assert count_rows(database, ANSWERS) == 0
    with database.connect() as connection:
        assert revision(connection, documents_table(space)).rows_changed == 3


def test_what_is_stored_is_read_back_as_it_was_published(database: Database, space: Space) -> None:
    texts = ["Olá", "zwei\tWörter", "三つ", "a \\ \\N 'quote' {brace}"]
    make_ready(database, space, "a", texts, language="pt")
    with database.connect() as connection:
        found = stored_document(connection, row(database, "a").document_id)
    assert found is not None
    wanted = chunked(texts, language="pt")
    assert found.chunks == wanted.chunks
    assert (found.title, found.language, found.pages) == (wanted.title, "pt", wanted.pages)
    assert found.characters == wanted.characters


def test_a_document_without_chunks_has_nothing_stored(database: Database, space: Space) -> None:
    queue(database, "a")
    with database.connect() as connection:
        assert stored_document(connection, row(database, "a").document_id) is None


def test_headings_and_pages_of_any_depth_are_kept(database: Database, space: Space) -> None:
    queue(database, "a")
    (claimed,) = take(database)
    document = chunked(["x", "y", "z"])
    chunks = tuple(
        type(chunk)(chunk.text, heading, page, 1)
        for chunk, heading, page in zip(
            document.chunks, [(), ("A", "B {x}"), ("C",)], [None, 7, 8], strict=True
        )
    )
    with database.connect(autocommit=True) as connection:
        answer(connection, space, ["x", "y", "z"])
        made = publication(claimed, type(document)("T", "m", "en", None, 3, chunks, {}))
        publish(connection, made, [space])
        found = stored_document(connection, claimed.document_id)
    assert found is not None
    assert found.chunks == chunks


def test_a_changed_document_changes_only_where_it_changed(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["one", "two", "three", "two"])
    before = {text: number for number, text in stored(database, "a")}
    change(database, "a", "v2")
    published = process(database, space, "a", ["new", "one", "two", "three"])
    assert (published.added, published.removed, published.vectors) == (1, 1, 1)
    after = {text: number for number, text in stored(database, "a")}
    assert list(after) == ["new", "one", "two", "three"]
    assert (after["one"], after["three"]) == (before["one"], before["three"])
    assert count_rows(database, VECTORS) == 4


def test_a_repeated_text_has_two_rows(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["same", "same"])
    assert len({number for number, _ in stored(database, "a")}) == 2
    change(database, "a", "v2")
    process(database, space, "a", ["same", "other", "same", "same"])
    assert texts_of(database, "a") == ["same", "other", "same", "same"]
    change(database, "a", "v3")
    process(database, space, "a", ["same"])
    assert texts_of(database, "a") == ["same"]
    assert count_rows(database, VECTORS) == 1


def test_a_text_of_another_document_needs_no_answer(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["shared", "own of a"])
    queue(database, "b")
    (claimed,) = take(database)
    with database.connect(autocommit=True) as connection:
        answer(connection, space, ["own of b"])
        published = publish(
            connection, publication(claimed, chunked(["own of b", "shared"])), [space]
        )
        same = connection.execute(
            "SELECT count(DISTINCT embedding::text) FROM chunk_embeddings_s1 WHERE text_hash = %s",
            (text_hash("shared"),),
        ).fetchone()
    assert published is not None
    assert published.vectors == 2
    assert same == (1,)


def test_another_language_is_written_everywhere(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["the houses"])
    change(database, "a", "v2")
    process(database, space, "a", ["the houses"], language="pt")
    assert texts_of(database, "a") == ["the houses"]
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT c.language, e.language, text_search::text FROM document_chunks c"
            " JOIN chunk_embeddings_s1 e USING (chunk_id)"
        ).fetchall()
    assert rows == [("pt", "pt", "'hous':2 'the':1")]


def test_positions_pages_and_headings_that_moved_are_corrected(
    database: Database, space: Space
) -> None:
    make_ready(database, space, "a", ["one", "two"])
    change(database, "a", "v2")
    (claimed,) = take(database)
    with database.connect(autocommit=True) as connection:
        publish(connection, publication(claimed, chunked(["two", "one"], heading="Other")), [space])
        found = stored_document(connection, claimed.document_id)
    assert found is not None
    assert found.chunks == chunked(["two", "one"], heading="Other").chunks


def test_a_chunk_without_a_vector_publishes_nothing(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["one"])
    change(database, "a", "v2")
    (claimed,) = take(database)
    with database.connect(autocommit=True) as connection:
        answer(connection, space, ["two"])
        with pytest.raises(AuditError, match=r"a\.md: 1 of 3 chunks would have no vector"):
            publish(connection, publication(claimed, chunked(["one", "two", "three"])), [space])
    assert texts_of(database, "a") == ["one"]
    assert count_rows(database, ANSWERS) == 1
    assert row(database, "a").state == "running"


def test_a_vector_that_is_not_normalised_publishes_nothing(
    database: Database, space: Space
) -> None:
    queue(database, "a")
    (claimed,) = take(database)
    with database.connect(autocommit=True) as connection:
        answer_texts(connection, space, ["one"], unit_vectors(1, space) * np.float32(2))
        with pytest.raises(AuditError, match=r"a\.md: of 1 vectors .* 1 are not normalised"):
            publish(connection, publication(claimed, chunked(["one"])), [space])
    assert count_rows(database, "document_chunks") == 0


def test_without_the_lease_nothing_is_published(database: Database, space: Space) -> None:
    queue(database, "a")
    (claimed,) = take(database, run_id="late", lease_s=0)
    take(database, run_id="next")
    with database.connect(autocommit=True) as connection:
        answer(connection, space, ["one"])
        late = publish(connection, publication(claimed, chunked(["one"]), "late"), [space])
    assert late is None
    assert count_rows(database, "document_chunks") == 0
    assert row(database, "a").run_id == "next"


def test_a_document_is_published_in_both_spaces_or_in_none(
    database: Database, space: Space, settings: Settings
) -> None:
    large = space_of(database, settings, "large")
    queue(database, "a")
    (claimed,) = take(database)
    with database.connect(autocommit=True) as connection:
        answer(connection, space, ["one"])
        with pytest.raises(AuditError, match="no vector in offline/"):
            publish(connection, publication(claimed, chunked(["one"])), [space, large])
        assert lacks_vectors(connection, claimed.document_id, [space]) is False
        answer(connection, large, ["one"])
        publish(connection, publication(claimed, chunked(["one"])), [space, large])
        assert lacks_vectors(connection, claimed.document_id, [space, large]) is False
        rows = connection.execute(
            "SELECT dim_small, dim_large, embedding_large IS NOT NULL FROM chunk_embeddings"
        ).fetchall()
    assert rows == [(64, 3072, True)]


def test_the_missing_vectors_of_a_new_space_are_filled_in(
    database: Database, space: Space, settings: Settings
) -> None:
    make_ready(database, space, "a", ["one", "two"])
    large = space_of(database, settings, "large")
    document_id = row(database, "a").document_id
    change(database, "a", "a")
    (claimed,) = take(database)
    with database.connect(autocommit=True) as connection:
        assert lacks_vectors(connection, document_id, [space, large])
        answer(connection, large, ["one", "two"])
        published = publish(
            connection, publication(claimed, chunked(["one", "two"])), [space, large]
        )
    assert published is not None
    assert (published.added, published.removed, published.vectors) == (0, 0, 2)


def test_documents_that_share_texts_are_published_concurrently_without_deadlock(
    database: Database, space: Space
) -> None:
    texts = [f"text {n}" for n in range(40)]
    keys = [f"d{n}" for n in range(12)]
    queue(database, *keys)
    claimed = take(database)
    with database.connect() as connection:
        answer(connection, space, texts)

    def work(number: int) -> bool:
        order = texts[number:] + texts[:number]
        document = chunked(order if number % 2 else order[::-1])
        with database.connect(autocommit=True) as connection:
            return publish(connection, publication(claimed[number], document), [space]) is not None

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(12)))
    assert count_rows(database, VECTORS) == 480
    assert count_rows(database, ANSWERS) == 0
    for key in keys:
        assert sorted(texts_of(database, key)) == sorted(texts)


def test_a_newer_answer_is_left_to_other_runs(database: Database, space: Space) -> None:
    queue(database, "a")
    (claimed,) = take(database)
    with database.connect(autocommit=True) as connection:
        answer(connection, space, ["one"])
        connection.execute("UPDATE answered_texts_s1 SET bought_at = now() + interval '1 hour'")
        publish(connection, publication(claimed, chunked(["one"])), [space])
    assert count_rows(database, ANSWERS) == 1


def test_one_session_publishes_document_after_document(database: Database, space: Space) -> None:
    queue(database, "a", "b", "c")
    with database.connect(autocommit=True) as connection:
        for number, claimed in enumerate(take(database)):
            texts = [f"{number} {place}" for place in range(600 if number == 1 else 2)]
            answer(connection, space, texts)
            published = publish(connection, publication(claimed, chunked(texts)), [space])
            assert published is not None
            assert published.added == len(texts)
    assert count_rows(database, VECTORS) == 604
