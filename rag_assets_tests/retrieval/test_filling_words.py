"""Passages of before full text search are indexed in parts, while others read and write."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import migrate, migrations_folder, pending
from rag_assets.retrieval.sql.full_text import matches
from rag_assets.retrieval.words import take_apart
from rag_assets.vectors.search_plan import RowFilter
from rag_assets_tests.corpora import load_version, sentences

_numbers = itertools.count()


@pytest.fixture
def before(template_database: Database, tmp_path: Path) -> Iterator[Database]:
    """A database as the version before left it, with a version of the Bible."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for file in migrations_folder().glob("*.sql"):
        if file.name < "0028":
            shutil.copy(file, folder)
    database = template_database.named(f"before_words_{next(_numbers)}")
    migrate(database, folder=folder)
    load_version(database, "EN_A", sentences(7))
    yield database
    with template_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database.name} WITH (FORCE)")


def worded(database: Database) -> dict[int, str]:
    with database.connect() as connection:
        return dict(
            connection.execute("SELECT verse_id, lexemes::text FROM verse_words").fetchall()
        )


def test_filling_is_resumed_where_it_ended_and_misses_no_writer(
    before: Database, tmp_path: Path
) -> None:
    shutil.copy(migrations_folder() / "0028_words.sql", tmp_path / "migrations")
    migrate(before, folder=tmp_path / "migrations")
    assert worded(before) == {}
    with before.connect(autocommit=True) as connection:
        assert connection.execute("SELECT fill_words(3)").fetchone() == (True,)
        with connection.transaction(force_rollback=True):  # a process that ends in a part
            connection.execute("SELECT fill_words(3)")
    assert len(worded(before)) == 3
    load_version(before, "EN_B", ["A lamp in the window"])
    with before.connect() as connection:
        connection.execute("UPDATE verses SET text = 'A candle' WHERE verse = 6")
    assert len(worded(before)) == 5
    assert "0029_fill_words.sql" in migrate(before)
    assert pending(before) == ()
    words = worded(before)
    with before.connect() as connection:
        texts = dict(connection.execute("SELECT verse_id, text FROM verses").fetchall())
    assert words.keys() == texts.keys()
    assert {words[row] for row, text in texts.items() if text == "A candle"} == {"'candl':2"}


def found_by_words(database: Database, query: str) -> int:
    """How many verses a search finds, which may wait for a second."""
    with database.connect(autocommit=True) as connection:
        return len(
            matches(
                connection, "bible", take_apart(query), statistics=None, languages=["en"],
                rows=RowFilter(("EN_A",)), matching=10_000, limit=10, timeout_ms=10_000,
            ).ranked
        )  # fmt: skip


def test_searches_go_on_while_a_part_is_filled(before: Database, tmp_path: Path) -> None:
    """Those of this version find what is filled; the version before has its own columns."""
    shutil.copy(migrations_folder() / "0028_words.sql", tmp_path / "migrations")
    migrate(before, folder=tmp_path / "migrations")
    with before.connect() as reader, before.connect() as filling:
        reader.execute("SELECT count(*) FROM verses").fetchone()  # and its transaction stays open
        assert filling.execute("SELECT fill_words(3)").fetchone() == (True,)
        assert found_by_words(before, "river") == 0
        filling.commit()
        assert found_by_words(before, "river") == 3
        assert filling.execute("SELECT fill_words(100)").fetchone() == (True,)
        old = reader.execute(
            "SELECT count(*) FROM verses WHERE text_search @@ to_tsquery('english', 'river')"
        ).fetchone()
        assert old == (7,)
    assert "0029_fill_words.sql" in migrate(before)
    assert found_by_words(before, "river") == 7
