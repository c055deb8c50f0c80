"""A backup by pg_dump, restored elsewhere: the release serves, and the index can be built anew."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from rag_assets.retrieval.hits import Hit
from rag_assets.store import embedded
from rag_assets.store.database import Database
from rag_assets.store.generations import live_indexes
from rag_assets_tests.api.conftest import Copy, bilingual, copied, corpus_settings  # noqa: F401
from rag_assets_tests.release.corpus import check, index, let_through, table_of
from rag_assets_tests.searches import ask

pytestmark = pytest.mark.slow


def program(name: str, database: Database, *arguments: str, **environment: str) -> None:
    """One of PostgreSQL's programs, on one database."""
    parts = database.parameters()
    subprocess.run(
        [str(embedded.binary(name)), *arguments],
        env={
            **os.environ,
            "PGHOST": parts["host"],
            "PGUSER": parts["user"],
            "PGDATABASE": parts["dbname"],
            **environment,
        },
        check=True,
        capture_output=True,
        text=True,
    )


def _same(one: Sequence[Hit], other: Sequence[Hit]) -> set[tuple[str, str]]:
    """Verses that both found."""
    first, second = ({(hit.version, hit.usfm) for hit in hits} for hits in (one, other))
    return first & second


def test_a_restored_backup_serves_as_before_and_its_index_can_be_built_anew(
    bilingual: Database,  # noqa: F811
    copied: Copy,  # noqa: F811
    tmp_path: Path,
) -> None:
    before = copied(bilingual)
    settings = corpus_settings(before)
    table = table_of(before, settings)
    query = "a great fish swallowed a man"
    hits = ask(before, settings, query).hits
    file = str(tmp_path / "corpus.dump")
    program("pg_dump", before, "--format=custom", f"--file={file}")

    after = before.named(f"{before.name}_restored")
    with before.connect(autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {after.name}")
    try:
        program(
            "pg_restore",
            after,
            f"--dbname={after.name}",
            "--exit-on-error",
            file,
            PGOPTIONS="-c maintenance_work_mem=2GB",
        )
        restored = corpus_settings(after)
        # The index is built anew, with other lists than those that were measured.
        assert len(_same(ask(after, restored, query).hits, hits)) >= 8
        with after.connect() as connection:
            (living,) = live_indexes(connection, table)
        assert living.valid
        assert living.generation is not None

        outcome = index(after, restored, force=True)
        assert outcome.generation is not None
        assert outcome.generation.number > living.generation
        check(after, restored)
        let_through(after, restored)
        assert len(_same(ask(after, restored, query).hits, hits)) >= 8
    finally:
        with before.connect(autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {after.name} WITH (FORCE)")
