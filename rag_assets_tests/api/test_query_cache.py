"""A query is embedded once: cached in memory and PostgreSQL, by space and normalised text."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.postgres.database import Database
from rag_assets.release.releasing import roll_back
from rag_assets_tests.api.conftest import Copy, corpus_settings
from rag_assets_tests.api.server import Server, environment_of, serving, wait_until
from rag_assets_tests.corpora import sentences
from rag_assets_tests.release.corpus import prepare, release_corpus
from rag_assets_tests.vectors.vectors import count_rows

pytestmark = pytest.mark.long

HITS = 'rag_cache_hits_total{{level="{}"}}'


@pytest.fixture
def database(bought: Database, copied: Copy) -> Database:
    """Replaces the empty database: a released corpus with the emulator's vectors."""
    return copied(bought)


@contextmanager
def asking(
    folder: Path, database: Database, emulator: Emulator, **extra: object
) -> Iterator[Server]:
    """A service that embeds queries with the emulator."""
    environment = environment_of(
        database,
        RAG_EMBEDDING_PROVIDER="openai",
        OPENAI_BASE_URL=emulator.base_url,
        OPENAI_API_KEY="sk-test-one",
        **extra,
    )
    with serving(folder, environment) as server:
        yield server


def test_a_text_is_embedded_once_however_it_is_written(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    before = count_rows(database, "query_embeddings")  # the queries that its index was judged by
    with asking(tmp_path, database, emulator) as server:
        first = server.found(query="The River  runs")
        for same in ("the river runs", " THE RIVER\nRUNS ", "The River runs"):
            assert server.found(query=same)["hits"] == first["hits"]
        assert emulator.stats().requests == 1
        assert server.metrics()[HITS.format("memory")] == 3
        server.found(query="the rivers run")
        assert emulator.stats().requests == 2
        assert count_rows(database, "query_embeddings") == before + 2


def test_accents_count_and_their_encoding_does_not(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    with asking(tmp_path, database, emulator) as server:
        for same in ("avó", "avo\u0301"):
            server.found(query=same)
        assert emulator.stats().requests == 1
        server.found(query="avo")
        assert emulator.stats().requests == 2


def test_another_worker_finds_a_query_in_the_database(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    with asking(tmp_path, database, emulator) as server:
        first = server.found(query="the river runs")
    with asking(tmp_path, database, emulator) as server:
        assert server.found(query="the river runs")["hits"] == first["hits"]
        assert server.metrics()[HITS.format("database")] == 1
    assert emulator.stats().requests == 1


def test_many_concurrent_identical_queries_share_one_request(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    with asking(tmp_path, database, emulator) as server, ThreadPoolExecutor(8) as threads:
        emulator.order(Fault(FaultKind.LATENCY, latency_ms=500, times=8))
        answers = list(threads.map(lambda _: server.found(query="a new river"), range(8)))
        assert len({str(answer["hits"]) for answer in answers}) == 1
        assert emulator.stats().requests == 1


def test_entries_that_are_too_old_are_embedded_again_and_deleted(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    with asking(tmp_path, database, emulator) as server:
        server.found(query="the river runs")
        server.found(query="the sea rests")
    with database.connect() as connection:
        connection.execute("UPDATE query_embeddings SET created_at = now() - interval '25 h'")
    with asking(tmp_path, database, emulator, RAG_QUERY_CACHE_MAX_AGE_H=24) as server:
        wait_until(lambda: count_rows(database, "query_embeddings") == 0)
        server.found(query="the river runs")
    assert emulator.stats().requests == 3
    assert count_rows(database, "query_embeddings") == 1


def test_memory_and_database_stay_within_their_limits(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    with asking(tmp_path, database, emulator, RAG_QUERY_CACHE_SIZE=2) as server:
        for word in ("one", "two", "three"):
            server.found(query=f"river {word}")
        server.found(query="river three")  # in memory
        server.found(query="river one")  # in the database only
        metrics = server.metrics()
    assert (metrics[HITS.format("memory")], metrics[HITS.format("database")]) == (1, 1)
    with asking(tmp_path, database, emulator, RAG_QUERY_CACHE_ROWS=2):
        wait_until(lambda: count_rows(database, "query_embeddings") == 2)


def test_without_any_cache_each_query_is_looked_up_in_the_database(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    with asking(tmp_path, database, emulator, RAG_QUERY_CACHE_SIZE=0) as server:
        for _ in range(3):
            server.found(query="the river runs")
        assert server.metrics()[HITS.format("database")] == 2


def test_another_space_embeds_again_and_a_rollback_finds_the_old_answer(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    with asking(tmp_path, database, emulator) as server:
        first = server.found(query="the river runs")
        wider = corpus_settings(
            database,
            rag_embedding_small_dimensions=80,
            rag_embedding_provider="openai",
            openai_base_url=emulator.base_url,
            openai_api_key="sk-test-one",
            rag_embedding_rate_limit=1_000_000,
            rag_embedding_token_limit=1_000_000_000,
        )
        prepare(database, wider, "EN_A", sentences(60))
        release_corpus(database, wider)
        before = emulator.stats().requests
        wait_until(lambda: server.found(query="the river runs")["release"] == 2)
        assert emulator.stats().requests == before + 1
        roll_back(database)
        wait_until(lambda: server.found(query="the river runs")["release"] == 1)
        assert server.found(query="the river runs")["hits"] == first["hits"]
        assert emulator.stats().requests == before + 1


def texts_kept(database: Database) -> set[str | None]:
    """The texts in the query cache; each row's other values hold none."""
    with database.connect() as connection:
        texts = connection.execute("SELECT query FROM query_embeddings").fetchall()
        rows = connection.execute(
            "SELECT query_hash, embedding, to_jsonb(q) - 'query' FROM query_embeddings q"
        ).fetchall()
    assert b"secret" not in b"".join(value for row in rows for value in row[:2])
    assert "secret" not in str(rows)
    return {text for (text,) in texts}


def test_the_texts_of_queries_are_kept_only_while_live_queries_are_allowed(
    tmp_path: Path, database: Database, emulator: Emulator
) -> None:
    with asking(tmp_path, database, emulator) as server:
        server.found(query="a secret wish")
    assert texts_kept(database) == {None}
    with asking(tmp_path, database, emulator, RAG_LIVE_QUERIES="true") as server:
        server.found(query="another secret wish")
        assert "secret" not in server.log
    assert texts_kept(database) == {None, "another secret wish"}
    with asking(tmp_path, database, emulator):
        wait_until(lambda: texts_kept(database) == {None})
