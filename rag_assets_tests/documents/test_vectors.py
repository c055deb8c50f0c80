"""Searching the documents' vectors, exactly and by the index, with filters."""

from __future__ import annotations

import numpy as np
import pytest

from rag_assets.index.questions import recall, similarity_floors
from rag_assets.index.sql import generations
from rag_assets.index.sql.builds import analyze, create_index, prepare_session
from rag_assets.index.sql.explained import indexes_used
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.stream import stream_vectors
from rag_assets.vectors.sql.tables import (
    Revision,
    VectorTable,
    documents_table,
    has_rows,
    rows_by_part,
    rows_by_scope,
)
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.corpus import filled_documents
from rag_assets_tests.index.corpus import clustered, index_settings
from rag_assets_tests.vectors.vectors import space_of

LISTS = 20
QUERIES = clustered(20, seed=77)
THROUGH = SearchPlan("iterative", 1, "halfvec", LISTS, LISTS)
NAME = "chunk_embeddings_s1_ivf_g1"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return index_settings(make_settings)


@pytest.fixture
def table(database: Database, settings: Settings) -> VectorTable:
    """Nine documents in English, three in Portuguese, and an index over their passages."""
    table = filled_documents(database, settings, {"en": 900, "pt": 300})
    with database.connect(autocommit=True) as connection:
        prepare_session(connection, memory_kb=256 * 1024, workers=0)
        number = generations.start_generation(
            connection,
            table,
            precision="halfvec",
            lists=LISTS,
            lists_from="asked",
            rows=1200,
            revision=Revision(1, 1200),
            run_id="run",
        )
        assert number == 1
        create_index(connection, table, number, precision="halfvec", lists=LISTS)
        generations.finish_generation(connection, number, seconds=1, size=1)
        analyze(connection, table)
    return table


def origin(connection: Connection, ids: list[int]) -> set[tuple[str, str]]:
    """Language and document of these rows."""
    rows = connection.execute(
        "SELECT DISTINCT c.language, document_key FROM document_chunks c"
        " JOIN documents USING (document_id) WHERE chunk_id = ANY(%s)",
        (ids,),
    ).fetchall()
    return set(rows)


def test_a_table_is_named_by_its_corpus_and_space(database: Database, settings: Settings) -> None:
    space = space_of(database, settings)
    table = documents_table(space)
    assert table.name == "chunk_embeddings_s1"
    with database.connect() as connection:
        assert not has_rows(connection, table)


def test_rows_are_counted_as_one_scope_and_by_language(
    database: Database, table: VectorTable
) -> None:
    with database.connect() as connection:
        assert rows_by_scope(connection, table) == {"documents": 1200}
        assert rows_by_part(connection, table) == {"en": 900, "pt": 300}
        assert has_rows(connection, table)


@pytest.mark.parametrize("plan", [EXACT, THROUGH], ids=["exact", "index"])
def test_a_filter_returns_only_what_it_names(
    database: Database, table: VectorTable, plan: SearchPlan
) -> None:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        numbers = dict(
            connection.execute("SELECT document_key, document_id FROM documents").fetchall()
        )
        some = [numbers["en-3"], numbers["pt-1"]]
        for query in QUERIES[:5]:

            def found(
                scopes: list[str] | None,
                documents: list[int] | None = None,
                query: np.ndarray = query,
            ) -> set[tuple[str, str]]:
                hits = nearest(
                    connection, table, plan, query, top_k=30, scopes=scopes, documents=documents
                )
                assert len(hits) == 30
                assert [distance for _, distance in hits] == sorted(d for _, d in hits)
                return origin(connection, [number for number, _ in hits])

            assert {language for language, _ in found(["pt"])} == {"pt"}
            assert {key for _, key in found(None, some)} <= {"en-3", "pt-1"}
            assert found(["pt"], some) == {("pt", "pt-1")}
            assert len(found(None)) > 1


def test_through_the_index_with_all_lists_the_same_is_found_as_exactly(
    database: Database, table: VectorTable
) -> None:
    cases = {"all": ("en", "pt"), "pt": ("pt",)}
    with database.connect(autocommit=True) as connection:
        truth = similarity_floors(connection, table, QUERIES, cases, top_k=10)
        prepare_connection(connection)
        for plan in (EXACT, THROUGH):
            for name, scopes in (("all", None), ("all", ["en", "pt"]), ("pt", ["pt"])):
                for query, floor in zip(QUERIES, truth[name], strict=True):
                    hits = nearest(connection, table, plan, query, top_k=10, scopes=scopes)
                    assert recall([1 - distance for _, distance in hits], floor) == 1


@pytest.mark.parametrize("scopes", [None, ["pt"], ["en", "pt"]])
def test_the_index_of_its_generation_answers_and_exact_search_reads_none(
    database: Database, table: VectorTable, scopes: list[str] | None
) -> None:
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        used = indexes_used(connection, table, THROUGH, QUERIES[0], top_k=10, scopes=scopes)
        assert used == {"custom": (NAME,), "generic": (NAME,)}
        exact = indexes_used(connection, table, EXACT, QUERIES[0], top_k=10, scopes=scopes)
        assert not any("_ivf_" in name for names in exact.values() for name in names)


def test_every_vector_comes_with_its_language(database: Database, table: VectorTable) -> None:
    with database.connect() as connection:
        chunks = list(stream_vectors(connection, table, ["pt", "en"]))
        rows = dict(connection.execute("SELECT chunk_id, language FROM document_chunks").fetchall())
    ids = np.concatenate([chunk.ids for chunk in chunks])
    scopes = np.concatenate([chunk.scopes for chunk in chunks])
    assert len(set(ids.tolist())) == 1200
    assert all(
        rows[number] == ("pt", "en")[place]
        for number, place in zip(ids.tolist(), scopes.tolist(), strict=True)
    )
