"""Real parts for every test: the embedded PostgreSQL, a fresh database each, the emulator."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from openai_emulator.process import Emulator, running_emulator
from rag_assets.embedding.profile import Profile, endpoint_of
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import Settings

SAMPLES = Path(__file__).parents[1] / "samples" / "bibles"
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
SHARED_CASES = SHARED_DATA.parent / "cases"
"""Larger real texts, used where they are present; never part of the project."""

os.environ.pop("COLUMNS", None)  # workers of xdist inherit it from readline; the CLI wraps by it

MakeSettings = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's environment and .env must not reach a test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def _memory_folder() -> str | None:
    """A folder in memory where there is room: making a database there takes 20 ms, not 350."""
    memory = Path("/dev/shm")  # noqa: S108
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4e9
    return str(memory) if roomy else None


@pytest.fixture(scope="session")
def rag_home() -> Iterator[Path]:
    """The folder of one embedded server for all tests of this process.

    Not below pytest's own folder, whose mode another session of pytest resets: as root the server
    runs as another user and could no longer reach its data.
    """
    home = Path(tempfile.mkdtemp(prefix="rag-tests-", dir=_memory_folder()))
    try:
        embedded.ensure_running(home / "postgres")
        yield home
    finally:
        embedded.release(home / "postgres")
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def template_database(rag_home: Path) -> Database:
    """A migrated database, copied for each test that wants one."""
    database = open_database(Settings(rag_home=rag_home)).named("template_corpus")
    migrate(database)
    return database


_numbers = itertools.count()


@pytest.fixture
def database(template_database: Database) -> Iterator[Database]:
    """A migrated, empty database of the test's own."""
    fresh = template_database.named(f"test_{next(_numbers)}")
    with template_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {fresh.name} TEMPLATE {template_database.name}")
    yield fresh
    with template_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {fresh.name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _emulator_process() -> Iterator[Emulator]:
    with running_emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator_process: Emulator) -> Emulator:
    """The OpenAI-compatible server, with nothing counted and no fault ordered."""
    _emulator_process.reset()
    return _emulator_process


def elsewhere(emulator: Emulator) -> str:
    """An address of the emulator that does not show that it is on this machine."""
    return emulator.base_url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104


@pytest.fixture
def make_settings(database: Database, tmp_path: Path) -> MakeSettings:
    """Settings for the test's own database; overrides by field name. Offline unless told."""

    def make(**overrides: object) -> Settings:
        values: dict[str, object] = {
            "rag_home": tmp_path / "rag",
            "rag_bibles_dir": tmp_path / "bibles",
            "rag_database_url": database.conninfo,
            "rag_embedding_provider": "offline",
            "rag_bible_settle_s": 0,
        }
        return Settings(**(values | overrides))

    return make


def store_probe(database: Database, settings: Settings) -> None:
    """Give each space, when it is created, the profile of a server that is as OpenAI's."""
    endpoint = endpoint_of(settings.openai_base_url)
    profile = Jsonb(asdict(Profile(largest_batch=2048)))
    row = sql.SQL("{space}, {endpoint}, {profile}::jsonb || jsonb_build_object('model', {model})")
    values = {"endpoint": sql.Literal(endpoint), "profile": sql.Literal(profile)}
    names = {name: sql.Identifier(f"probed_{endpoint}") for name in ("function", "trigger")}
    insert = "INSERT INTO provider_profiles (space_id, endpoint, profile)"
    with database.connect() as connection:
        of_new = row.format(space=sql.SQL("NEW.space_id"), model=sql.SQL("NEW.model"), **values)
        of_old = row.format(space=sql.SQL("space_id"), model=sql.SQL("model"), **values)
        connection.execute(
            sql.SQL(
                "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN {insert} VALUES ({row}); RETURN NEW; END $$"
            ).format(insert=sql.SQL(insert), row=of_new, **names)
        )
        connection.execute(
            sql.SQL(
                "CREATE OR REPLACE TRIGGER {trigger} AFTER INSERT ON embedding_spaces"
                " FOR EACH ROW EXECUTE FUNCTION {function}()"
            ).format(**names)
        )
        connection.execute(
            sql.SQL("{insert} SELECT {row} FROM embedding_spaces ON CONFLICT DO NOTHING").format(
                insert=sql.SQL(insert), row=of_old
            )
        )


@pytest.fixture
def openai_settings(
    make_settings: MakeSettings, emulator: Emulator, database: Database
) -> MakeSettings:
    """Settings for the test's own database and the emulator, with limits that do not slow it.

    The emulator was probed before, so that each request is one for texts, unless ``probed=False``.
    """

    def make(*, probed: bool = True, **overrides: object) -> Settings:
        values: dict[str, object] = {
            "rag_embedding_provider": "openai",
            "openai_base_url": emulator.base_url,
            "openai_api_key": "sk-test-one",
            "rag_embedding_rate_limit": 1_000_000,
            "rag_embedding_token_limit": 1_000_000_000,
        }
        settings = make_settings(**(values | overrides))
        if probed:
            store_probe(database, settings)
        return settings

    return make
