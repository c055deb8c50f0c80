"""Released corpora and running services, shared by read-only tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from openai_emulator.process import Emulator
from rag_assets.bible.reader import read_bible
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import list_version_folders, read_declaration
from rag_assets.postgres.database import Database
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Role, space_spec
from rag_assets_tests.api.server import Server, environment_of, serving
from rag_assets_tests.conftest import SAMPLES
from rag_assets_tests.corpora import sentences
from rag_assets_tests.documents.corpus import judge_all, publish_document
from rag_assets_tests.release.corpus import check, embed, index, prepare, release_corpus
from rag_assets_tests.release.corpus import release_settings as settings_to_release

SMALL, LARGE = 64, 96
Copy = Callable[[Database], Database]
MANUAL = [
    "Turn the valve clockwise until the pressure falls",
    "The pump must never run dry, or its bearings seize",
    "Grease the bearings of the pump every month",
]
CARTA = ["A bomba de água precisa de graxa", "Feche a válvula antes da limpeza"]
_numbers = itertools.count()  # module-level, because tests in other folders use the fixtures too


def corpus_settings(database: Database, **overrides: object) -> Settings:
    """Small dimensions and an index of four lists, whatever the environment says."""

    def make(**values: object) -> Settings:
        given: dict[str, object] = {
            "rag_database_url": database.conninfo,
            "rag_embedding_provider": "offline",
            "rag_bibles_dir": Path("/nowhere/bibles"),
            "rag_index_min_rows": 1,
        }
        return Settings(_env_file=None, **(given | values))  # type: ignore[call-arg, arg-type]

    return settings_to_release(make, **overrides)


@pytest.fixture(scope="session")
def copied(template_database: Database) -> Iterator[Copy]:
    """Copies a database without connections; the copy is dropped at the end."""
    made = []

    def copy(source: Database) -> Database:
        fresh = source.named(f"api_{next(_numbers)}")
        with source.named("postgres").connect(autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {fresh.name} TEMPLATE {source.name}")
        made.append(fresh)
        return fresh

    yield copy
    with template_database.named("postgres").connect(autocommit=True) as connection:
        for database in made:
            connection.execute(f"DROP DATABASE {database.name} WITH (FORCE)")


@pytest.fixture(scope="session")
def bilingual(template_database: Database, copied: Copy) -> Database:
    """Both samples, 251 verses each, with small and large vectors, released as release 1.

    Copied, never connected to.
    """
    database = copied(template_database)
    settings = corpus_settings(database)
    for folder in list_version_folders(SAMPLES):
        with database.connect() as connection:
            bible = read_bible(folder.path)
            declared = read_declaration(folder)
            load_verses(connection, folder.code, declared, bible, source_hash="test", run_id="load")
        embed(database, settings, folder.code, roles=("small", "large"))
        check(database, settings, folder.code)
    index(database, settings)
    release_corpus(database, settings)
    return database


@pytest.fixture(scope="session")
def stocked(bilingual: Database, copied: Copy) -> Database:
    """The samples and two documents in release 2; only copied, never connected to."""
    database = copied(bilingual)
    settings = corpus_settings(database, rag_index_min_rows=100)
    publish_document(
        database, settings, "manual.pdf", MANUAL, title="Manual", heading=("Pumps",), paged=True
    )
    publish_document(
        database, settings, "carta.md", CARTA, language="pt", title="Carta", heading=("Bomba",)
    )
    judge_all(database, settings)
    release_corpus(database, settings)
    return database


@pytest.fixture
def corpus(bilingual: Database, copied: Copy) -> Database:
    """The released samples, for a test that changes them."""
    return copied(bilingual)


@pytest.fixture(scope="session")
def server(
    bilingual: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One service for all read-only tests; no key exists, and it logs JSON."""
    folder = tmp_path_factory.mktemp("api")
    environment = environment_of(copied(bilingual), RAG_LOG_FORMAT="json")
    with serving(folder, environment) as running:
        yield running


@pytest.fixture(scope="session")
def bought(template_database: Database, copied: Copy, _emulator_process: Emulator) -> Database:
    """A released version of 60 verses, embedded by the emulator; copied, never connected to."""
    database = copied(template_database)
    settings = corpus_settings(
        database,
        rag_embedding_provider="openai",
        openai_base_url=_emulator_process.base_url,
        openai_api_key="sk-test-one",
        rag_embedding_rate_limit=1_000_000,
        rag_embedding_token_limit=1_000_000_000,
    )
    prepare(database, settings, "EN_A", sentences(60))
    release_corpus(database, settings)
    return database


@cache
def verse_text(code: str, book: str, chapter: int, verse: int) -> str:
    """The text of one verse of a sample."""
    verses = read_bible(SAMPLES / code).verses
    return next(v.text for v in verses if (v.book, v.chapter, v.verse) == (book, chapter, verse))


def vector_of(text: str, role: Role = "small") -> list[float]:
    """The offline embedder's vector for a text."""
    settings = Settings(
        rag_embedding_provider="offline",
        rag_embedding_small_dimensions=SMALL,
        rag_embedding_large_dimensions=LARGE,
    )
    (vector,) = embed_queries(settings, space_spec(settings, role), [text])
    return [float(component) for component in vector]
