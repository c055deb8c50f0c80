"""What a search reads of documents, by words, key or id: never withdrawn or deleted ones."""

from __future__ import annotations

import numpy as np
import pytest

from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.sql.chunks import (
    CHUNKS,
    FoundChunk,
    chunks_by_corpus,
    documents_by_key,
    keys_near,
)
from rag_assets.retrieval.sql.full_text import matches
from rag_assets.retrieval.words import take_apart
from rag_assets.settings.model import Settings
from rag_assets.vectors.search_plan import RowFilter
from rag_assets.vectors.sql.nearest import compare, prepare_connection
from rag_assets.vectors.sql.spaces import find_space
from rag_assets.vectors.sql.tables import documents_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.corpus import publish_document

ENGLISH = ["The fishermen were mending their nets", "They prayed and prayed again"]
PORTUGUESE = ["Os pescadores consertavam as suas redes", "Uma oração subiu da cidade"]
GREEK = ["Ἐν ἀρχῇ ἦν ὁ λόγος", "prayers are prayers"]
ALL = ("en", "pt", "und")


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(rag_embedding_small_dimensions=64)


@pytest.fixture
def filled(database: Database, settings: Settings) -> Database:
    """One document in English, one in Portuguese and one in an unknown language."""
    publish_document(
        database, settings, "nets.md", ENGLISH, title="Nets", heading=("Work", "Nets"), paged=True
    )
    publish_document(database, settings, "redes.md", PORTUGUESE, language="pt")
    publish_document(database, settings, "logos.txt", GREEK, language="und")
    return database


def ids(database: Database) -> dict[str, int]:
    """Id of each chunk, by its text."""
    with database.connect() as connection:
        return dict(connection.execute("SELECT text, chunk_id FROM document_chunks").fetchall())


def numbers(database: Database) -> dict[str, int]:
    """Id of each document, by its key."""
    with database.connect() as connection:
        return dict(
            connection.execute("SELECT document_key, document_id FROM documents").fetchall()
        )


def found(
    database: Database,
    query: str,
    *,
    languages: tuple[str, ...] = ALL,
    documents: tuple[int, ...] | None = None,
    limit: int = 10,
) -> list[str]:
    """Texts of the chunks found, best first."""
    with database.connect(autocommit=True) as connection:
        row = connection.execute("SELECT collect_text_statistics('documents', NULL)").fetchone()
        assert row is not None
        by_index, narrow = (
            matches(
                connection, "documents", take_apart(query), statistics=row[0], languages=languages,
                rows=RowFilter(languages, documents=documents), matching=matching, limit=limit,
                timeout_ms=60_000,
            )
            for matching in (10_000, 1)
        )  # fmt: skip
    assert by_index == narrow
    texts = {number: text for text, number in ids(database).items()}
    return [texts[number] for number in by_index.ranked]


def test_stems_are_those_of_the_documents_language(filled: Database) -> None:
    assert found(filled, "praying") == [ENGLISH[1]]
    assert found(filled, "pescador") == [PORTUGUESE[0]]
    assert found(filled, "orações cidade") == [PORTUGUESE[1]]


def test_without_a_known_language_words_are_not_stemmed(filled: Database) -> None:
    assert found(filled, "λόγος") == [GREEK[0]]
    assert found(filled, "prayers", languages=("und",)) == [GREEK[1]]
    assert found(filled, "prayer", languages=("und",)) == []


def test_any_word_matches_and_the_filters_apply(filled: Database) -> None:
    assert set(found(filled, "nets and redes")) == {ENGLISH[0], PORTUGUESE[0]}
    assert found(filled, "nets and redes", languages=("pt",)) == [PORTUGUESE[0]]
    only = (numbers(filled)["nets.md"],)
    assert found(filled, "nets and redes", documents=only) == [ENGLISH[0]]
    assert found(filled, "nets and redes", documents=only, languages=("pt",)) == []
    assert len(found(filled, "nets redes prayed oração", limit=2)) == 2


@pytest.mark.parametrize("query", ["", "the", "the of and", "\0", "a \0 b", "'\"():*&|!<->", "  "])
def test_a_query_without_words_finds_nothing(filled: Database, query: str) -> None:
    assert found(filled, query, languages=("en",)) == []


def read(connection: Connection, settings: Settings, *numbers: int) -> dict[int, FoundChunk]:
    """The chunks with these ids, as a search returns them."""
    prepare_connection(connection)
    space = find_space(connection, settings, "small")
    assert space is not None
    somewhere = np.ones(64, dtype=np.float32)
    rows = compare(connection, documents_table(space), somewhere, numbers, joined=CHUNKS)
    return {row.id: FoundChunk(**row.columns) for row in rows}


def test_a_chunk_is_returned_with_its_document_and_place(
    filled: Database, settings: Settings
) -> None:
    number = ids(filled)[ENGLISH[1]]
    with filled.connect() as connection:
        (chunk,) = read(connection, settings, number, 10**9).values()
    assert (chunk.document_key, chunk.title, chunk.language) == ("nets.md", "Nets", "en")
    assert (chunk.page, list(chunk.heading), chunk.position) == (2, ["Work", "Nets"], 2)
    assert chunk.text == ENGLISH[1]


def test_withdrawn_or_deleted_chunks_are_not_read(filled: Database, settings: Settings) -> None:
    every = ids(filled).values()
    with filled.connect() as connection:
        assert len(read(connection, settings, *every)) == 6
        withdraw(connection, ["redes.md"], by="command")
    with filled.connect() as connection:
        assert {chunk.document_key for chunk in read(connection, settings, *every).values()} == {
            "nets.md",
            "logos.txt",
        }
        with connection.transaction(force_rollback=True):
            # As in a search that found its rows just before: the vectors still exist.
            connection.execute(
                "UPDATE documents SET state = 'withdrawn', withdrawn_at = now(),"
                " withdrawn_by = 'command' WHERE document_key = 'nets.md'"
            )
            assert len(read(connection, settings, *every)) == 2
        assert set(documents_by_key(connection, ["redes.md", "nets.md", "none"])) == {"nets.md"}
        assert chunks_by_corpus(connection) == {"documents": {"en": 2, "und": 2}}
        assert "redes.md" not in keys_near(connection, "redes.m")


def test_documents_are_found_by_their_keys(filled: Database) -> None:
    with filled.connect() as connection:
        known = documents_by_key(connection, ["nets.md", "redes.md", "NETS.md", "a\0b"])
        assert {key: one.chunks for key, one in known.items()} == {"nets.md": 2, "redes.md": 2}
        assert known["nets.md"].document_id == numbers(filled)["nets.md"]


@pytest.mark.parametrize("wrong", ["net.md", "netz.md", "my-nets.md", "NETS", "nets\0"])
def test_the_keys_near_a_wrong_one_include_the_right_one(filled: Database, wrong: str) -> None:
    with filled.connect() as connection:
        assert "nets.md" in keys_near(connection, wrong)


def test_documents_without_chunks_cannot_be_searched(database: Database) -> None:
    from rag_assets_tests.documents.queued import queue

    queue(database, "waits")
    with database.connect() as connection:
        assert documents_by_key(connection, ["waits"]) == {}
        assert keys_near(connection, "waits") == []
        assert chunks_by_corpus(connection) == {}
