"""After a switch: the index's well-known name and the view, which never delay it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from psycopg import sql

from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Connection, Database
from rag_assets.release.dropping import drop_indexes_of
from rag_assets.release.releasing import activate, roll_back
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.release.corpus import (
    LIVING,
    active_number,
    check,
    embed,
    index,
    index_of_name,
    indexed_generations,
    prepare,
    release_corpus,
    release_settings,
)
from rag_assets_tests.searches import ask

TABLE = "verse_embeddings_s1"


@dataclass
class Heard:
    """Progress that records messages."""

    lines: list[str] = field(default_factory=list)

    def start(self, task: str, total: int) -> None: ...

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """With an index from the first row on."""
    return release_settings(make_settings, rag_index_min_rows=1)


def test_the_live_index_has_the_well_known_name_after_a_switch_and_back(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    assert index_of_name(database) is None
    release_corpus(database, settings)
    assert index_of_name(database) == (TABLE, 1)

    prepare(database, settings, "EN_B", force=True)
    assert index_of_name(database) == (TABLE, 1)
    assert index_of_name(database, f"{TABLE}_ivf_g2") == (TABLE, 2)
    release_corpus(database, settings)
    assert index_of_name(database) == (TABLE, 2)
    assert index_of_name(database, f"{TABLE}_ivf_g1") == (TABLE, 1)

    roll_back(database)
    assert index_of_name(database) == (TABLE, 1)
    assert index_of_name(database, f"{TABLE}_ivf_g2") == (TABLE, 2)


def test_only_the_index_of_the_rolled_back_release_is_dropped_on_request(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    first = release_corpus(database, settings).release
    prepare(database, settings, "EN_B", force=True)
    release_corpus(database, settings)
    now, gone = roll_back(database)
    assert now.release_id == first.release_id
    assert drop_indexes_of(database, settings, gone, progress=Heard()) == (f"{TABLE}_ivf_g2",)
    assert index_of_name(database) == (TABLE, 1)
    assert indexed_generations(database) == [1]
    assert drop_indexes_of(database, settings, now, progress=Heard()) == ()  # it serves
    with pytest.raises(ConfigurationError, match="build and release again"):
        activate(database, gone.release_id)
    # The next decision: the live index is suitable, or another one is built.
    assert index(database, settings).generation is not None


def test_a_release_of_exact_search_takes_the_name_from_the_index(
    database: Database, make_settings: MakeSettings, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    other = release_settings(make_settings, rag_embedding_small_dimensions=80)
    embed(database, other, "EN_A")
    check(database, other, "EN_A")
    exact = release_settings(
        make_settings, rag_embedding_small_dimensions=80, rag_index_min_rows=1000
    )
    index(database, exact)
    release_corpus(database, exact)
    assert index_of_name(database) is None
    assert index_of_name(database, f"{TABLE}_ivf_g1") == (TABLE, 1)
    roll_back(database)
    assert index_of_name(database) == (TABLE, 1)


def search_through(connection: Connection, generation: int) -> int:
    """Rows that a search through an index finds, in the connection's transaction."""
    statement = sql.SQL(
        "SELECT count(*) FROM (SELECT verse_id FROM {table} WHERE verse_id <> {number}"
        " ORDER BY embedding <=> (SELECT embedding FROM {table} LIMIT 1) LIMIT 10) AS found"
    ).format(table=sql.Identifier(TABLE), number=sql.Literal(-generation))
    connection.execute("SET LOCAL enable_sort = off")
    connection.execute("SET LOCAL ivfflat.probes = 4")
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def test_a_long_searching_transaction_neither_delays_a_switch_nor_is_delayed_by_it(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    prepare(database, settings, "EN_B", force=True)
    with database.connect() as reader:
        assert search_through(reader, 1) == 10
        release_corpus(database, settings)
        assert index_of_name(database) == (TABLE, 2)
        assert search_through(reader, 1) == 10
        assert search_through(reader, 2) == 10
        roll_back(database)
        assert index_of_name(database) == (TABLE, 1)
        assert search_through(reader, 2) == 10


def test_a_busy_index_is_released_and_gets_its_name_later(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    prepare(database, settings, "EN_B", force=True)
    with database.connect() as busy:
        busy.execute(f"COMMENT ON INDEX {LIVING} IS 'an administrator is at it'")
        done = release_corpus(database, settings)
        assert (done.release.release_id, done.release.state) == (2, "active")
        assert index_of_name(database) == (TABLE, 1)
        assert ask(database, settings, "the river EN_B").plan.generation == 2
        heard = Heard()
        assert roll_back(database, progress=heard)[0].release_id == 1
        assert heard.lines == []  # the name is right again
    prepare(database, settings, "EN_C", force=True)
    release_corpus(database, settings, after_rollback=True)
    assert index_of_name(database) == (TABLE, 3)


def test_the_message_says_why_the_name_did_not_move(database: Database, settings: Settings) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    prepare(database, settings, "EN_B", force=True)
    release_corpus(database, settings)
    heard = Heard()
    with database.connect() as busy:
        busy.execute(f"COMMENT ON INDEX {LIVING} IS 'an administrator is at it'")
        roll_back(database, progress=heard)
    assert heard.lines == [
        "the live index is busy: it will get its well-known name at the next release"
    ]
    assert active_number(database) == 1
    assert index_of_name(database) == (TABLE, 2)


def test_a_dropped_index_is_not_the_live_one_whatever_its_name(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1, rag_releases_kept=1)
    for code in ("EN_A", "EN_B", "EN_C"):
        prepare(database, settings, code, force=True)
        release_corpus(database, settings)
    index(database, settings)
    assert index_of_name(database) == (TABLE, 3)
    assert indexed_generations(database) == [2, 3]


def shown(database: Database) -> list[tuple[int, int]]:
    """Dimensions and rows of the small vectors in the view ``verse_embeddings``."""
    with database.connect() as connection:
        return connection.execute(
            "SELECT dim_small, count(embedding_small) FROM verse_embeddings GROUP BY 1"
        ).fetchall()


def wider(make_settings: MakeSettings) -> Settings:
    """The next model."""
    return release_settings(make_settings, rag_embedding_small_dimensions=80)


def test_the_view_follows_a_switch_and_a_rollback(
    database: Database, make_settings: MakeSettings
) -> None:
    settings, following = release_settings(make_settings), wider(make_settings)
    embed(database, settings, "EN_A", sentences(30), roles=("small", "large"))
    assert shown(database) == [(64, 30)]
    check(database, settings, "EN_A")
    index(database, settings)
    release_corpus(database, settings)

    embed(database, following, "EN_A")
    check(database, following, "EN_A")
    index(database, following)
    assert shown(database) == [(64, 30)]
    release_corpus(database, following)
    assert shown(database) == [(80, 30)]
    roll_back(database)
    assert shown(database) == [(64, 30)]


def test_a_reader_of_the_view_does_not_delay_the_release(
    database: Database, make_settings: MakeSettings
) -> None:
    settings, following = release_settings(make_settings), wider(make_settings)
    embed(database, settings, "EN_A", sentences(30), roles=("small", "large"))
    check(database, settings, "EN_A")
    index(database, settings)
    release_corpus(database, settings)
    embed(database, following, "EN_A")
    check(database, following, "EN_A")
    index(database, following)
    with database.connect() as reader:
        reader.execute("SELECT count(*) FROM verse_embeddings")
        assert release_corpus(database, following).release.release_id == 2
        assert reader.execute("SELECT DISTINCT dim_small FROM verse_embeddings").fetchall() == [
            (64,)
        ]
    embed(database, following, "EN_B", sentences(30, word="EN_B"), roles=("small", "large"))
    check(database, following, "EN_B")
    index(database, following)
    release_corpus(database, following)
    assert (80, 60) in shown(database)
