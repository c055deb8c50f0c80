"""A filled corpus with Dagster's database beside it, for tests that only read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import corpus_settings
from rag_assets_tests.operations.filled import fill, fill_dagster

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def filled(
    template_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A corpus with data of every kind."""
    corpus = template_database.named("filled")
    dagster = template_database.named("filled_dagster")
    with template_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {corpus.name} TEMPLATE {template_database.name}")
    fill(corpus, corpus_settings(corpus))
    home = tmp_path_factory.mktemp("dagster")
    shutil.copy(ROOT / "dagster.yaml", home)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAG_DATABASE_URL", corpus.conninfo)
        patched.chdir(home)  # dagster.yaml's folders are relative
        with dg.DagsterInstance.from_config(str(home)) as instance:
            fill_dagster(instance, dagster)
    yield corpus
    with template_database.named("postgres").connect(autocommit=True) as connection:
        for database in (corpus, dagster):
            connection.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
