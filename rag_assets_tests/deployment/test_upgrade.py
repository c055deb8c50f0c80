"""The embedded server's data brought from PostgreSQL 16 to 18, as they are found in practice."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_assets.errors import DatabaseUnusableError
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database, one
from rag_assets.postgres.embedded_upgrade import upgrade
from rag_assets_tests.api.server import ROOT, command
from rag_assets_tests.conftest import _memory_folder

pytestmark = pytest.mark.long

RELEASED = """
import sys
from pathlib import Path
from rag_assets.settings.model import Settings
from rag_assets.postgres.database import open_database
from rag_assets.postgres.migrations import migrate
from rag_assets_tests.api.conftest import corpus_settings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.release.corpus import release_corpus, prepare
database = open_database(Settings(rag_home=Path(sys.argv[1])))
migrate(database)
settings = corpus_settings(database)
prepare(database, settings, "EN_A", sentences(60))
release_corpus(database, settings)
"""
SEARCH = ("search", "the river number 7", "--top-k", "5", "--json")


def run(home: Path, *words: str, version: int = 18) -> subprocess.CompletedProcess[str]:
    """A command on this home, with a version of the embedded server."""
    return subprocess.run(
        words,
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "PGSERVER_POSTGRES_VERSION": str(version),
            "RAG_HOME": str(home),
            "RAG_EMBEDDING_PROVIDER": "offline",
            "RAG_SEARCH_EXACT_ROWS": "10",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def asked(home: Path, *words: str, version: int = 18) -> str:
    """What a command of ours answered, which must be well."""
    done = run(home, *command(*words), version=version)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A home whose data PostgreSQL 16 made: a released corpus of 60 verses with its index."""
    home = Path(tempfile.mkdtemp(prefix="rag-sixteen-", dir=_memory_folder()))
    done = run(home, sys.executable, "-c", RELEASED, str(home), version=16)
    assert done.returncode == 0, done.stderr
    yield home
    shutil.rmtree(home)


@pytest.fixture
def home(made: Path) -> Iterator[Path]:
    """A copy for a test."""
    copy = Path(tempfile.mkdtemp(prefix="rag-upgraded-", dir=_memory_folder()))
    subprocess.run(["cp", "--archive", made / "postgres", copy], check=True)
    copy.chmod(0o755)  # PostgreSQL's user must pass
    yield copy
    embedded.release(copy / "postgres")
    shutil.rmtree(copy)


def found(home: Path, version: int = 18) -> list[str]:
    """The references of a search, in their order."""
    answer = json.loads(asked(home, *SEARCH, version=version))
    assert answer["plan"]["kind"] == "ivfflat"
    return [hit["usfm"] for hit in answer["hits"]]


def test_other_data_are_refused_and_upgraded_by_one_command_that_keeps_them(home: Path) -> None:
    before = found(home, version=16)
    refused = run(home, *command("db", "status"))
    assert refused.returncode == 1
    assert "are of PostgreSQL 16, and this version runs 18: `rag-assets db upg" in refused.stderr
    assert "Traceback" not in refused.stderr

    upgraded = json.loads(asked(home, "db", "upgrade", "--json"))
    assert upgraded == {"before": 16, "after": 18, "kept": str(home / "postgres-16")}
    assert found(home) == before
    status = json.loads(asked(home, "db", "status", "--json"))
    assert status["postgresql"].startswith("18")
    assert status["migrations_waiting"] == []
    assert asked(home, "db", "upgrade").startswith("nothing to do: PostgreSQL 18")

    (home / "postgres").rename(home / "postgres-18")  # the way back
    (home / "postgres-16").rename(home / "postgres")
    assert found(home, version=16) == before


@pytest.mark.parametrize("killed", [False, True], ids=["left-behind", "killed"])
def test_a_server_that_its_users_left_behind_is_ended_and_a_killed_one_recovered(
    home: Path, killed: bool
) -> None:
    leave = (
        "import os, sys; from pathlib import Path; from rag_assets.postgres import embedded;"
        "embedded.ensure_running(Path(sys.argv[1])); os._exit(0)"
    )
    data = home / "postgres"
    done = run(home, sys.executable, "-c", leave, str(data), version=16)
    assert done.returncode == 0, done.stderr
    if killed:
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    assert upgrade(data) is not None
    assert len(found(home)) == 5


def test_whoever_uses_the_data_is_not_disturbed(home: Path) -> None:
    with (home / "postgres.users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with pytest.raises(DatabaseUnusableError, match=r"somebody uses the data.*stop `rag"):
            upgrade(home / "postgres")
    assert embedded.version_of(home / "postgres") == 16


def test_what_pg_upgrade_refuses_stays_as_it_was(home: Path) -> None:
    forbid = (
        "import sys, psycopg; from pathlib import Path; from rag_assets.postgres import embedded;"
        "c = psycopg.connect(embedded.ensure_running(Path(sys.argv[1])), autocommit=True);"
        "c.execute('CREATE DATABASE shut'); "
        "c.execute('ALTER DATABASE shut ALLOW_CONNECTIONS false')"
    )
    done = run(home, sys.executable, "-c", forbid, str(home / "postgres"), version=16)
    assert done.returncode == 0, done.stderr
    with pytest.raises(DatabaseUnusableError, match="pg_upgrade failed, and the data are as they"):
        upgrade(home / "postgres")
    assert sorted(path.name for path in home.iterdir() if path.is_dir()) == ["postgres"]
    assert len(found(home, version=16)) == 5


def test_an_upgrade_cut_off_at_its_last_step_is_ended_by_the_next_start(home: Path) -> None:
    data = home / "postgres"
    assert upgrade(data) is not None
    data.rename(embedded.upgraded_folder(data))
    uri = embedded.ensure_running(data)
    with Database(uri).named("bible_api").connect() as connection:
        assert one(connection.execute("SELECT count(*) FROM verses")) == (60,)


@pytest.mark.parametrize(("version", "told"), [(15, "brings 16 and 18 only: dump them")])
def test_data_of_a_version_that_is_not_brought_need_a_dump(
    tmp_path: Path, version: int, told: str
) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text(f"{version}\n")
    for refused in (embedded.ensure_running, upgrade):
        with pytest.raises(DatabaseUnusableError, match=told):
            refused(data)
        embedded.release(data)
