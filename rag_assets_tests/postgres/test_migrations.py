"""Migrations: applied once, recorded, refused if edited, atomic."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import pytest

from rag_assets.errors import MigrationError
from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import migrate, migrations_folder, pending, read_migrations

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two migrations that leave traces: each run adds a row."""
    made = tmp_path / "migrations"
    made.mkdir()
    (made / "0001_traces.sql").write_text("CREATE TABLE traces (said text)")
    (made / "0002_first.sql").write_text("INSERT INTO traces VALUES ('first')")
    return made


def traces(database: Database) -> list[str]:
    with database.connect() as connection:
        rows = connection.execute("SELECT said FROM traces ORDER BY said").fetchall()
    return [row[0] for row in rows]


def recorded(database: Database) -> dict[str, str]:
    with database.connect() as connection:
        return dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())


def test_each_file_is_applied_once_in_order_and_recorded_with_its_checksum(
    empty: Database, folder: Path
) -> None:
    assert migrate(empty, folder=folder) == ("0001_traces.sql", "0002_first.sql")
    assert migrate(empty, folder=folder) == ()
    assert traces(empty) == ["first"]
    assert recorded(empty) == {file.name: file.checksum for file in read_migrations(folder)}


def test_a_new_file_is_applied_alone(empty: Database, folder: Path) -> None:
    migrate(empty, folder=folder)
    (folder / "0003_second.sql").write_text("INSERT INTO traces VALUES ('second')")
    assert migrate(empty, folder=folder) == ("0003_second.sql",)
    assert traces(empty) == ["first", "second"]


def test_an_edited_migration_is_refused_before_anything_else_is_applied(
    empty: Database, folder: Path
) -> None:
    migrate(empty, folder=folder)
    (folder / "0002_first.sql").write_text("INSERT INTO traces VALUES ('edited')")
    (folder / "0003_second.sql").write_text("INSERT INTO traces VALUES ('second')")
    with pytest.raises(MigrationError, match=r"0002_first\.sql was edited.*put the change into a"):
        migrate(empty, folder=folder)
    assert traces(empty) == ["first"]


def test_an_applied_migration_that_is_unknown_is_refused(empty: Database, folder: Path) -> None:
    (folder / "0003_newer.sql").write_text("INSERT INTO traces VALUES ('newer')")
    migrate(empty, folder=folder)
    (folder / "0003_newer.sql").unlink()
    with pytest.raises(MigrationError, match=r"0003_newer\.sql.*newer rag-assets; upgrade"):
        migrate(empty, folder=folder)


def test_a_failing_file_leaves_nothing_half_applied_and_can_be_fixed(
    empty: Database, folder: Path
) -> None:
    failing = folder / "0003_fails.sql"
    failing.write_text("INSERT INTO traces VALUES ('half'); SELECT * FROM nowhere")
    with pytest.raises(MigrationError, match=r'0003_fails\.sql failed: .*"nowhere" does not exist'):
        migrate(empty, folder=folder)
    assert traces(empty) == ["first"]
    assert "0003_fails.sql" not in recorded(empty)
    failing.write_text("INSERT INTO traces VALUES ('whole')")
    assert migrate(empty, folder=folder) == ("0003_fails.sql",)
    assert traces(empty) == ["first", "whole"]


def test_a_file_without_transaction_may_build_an_index_concurrently(
    empty: Database, folder: Path
) -> None:
    (folder / "0003_index.sql").write_text(
        "-- no-transaction\nCREATE INDEX CONCURRENTLY traces_said ON traces (said)"
    )
    migrate(empty, folder=folder)
    with empty.connect() as connection:
        valid = connection.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'traces_said'::regclass"
        ).fetchone()
    assert valid == (True,)
    assert "0003_index.sql" in recorded(empty)


def test_a_failing_file_without_transaction_is_not_recorded(empty: Database, folder: Path) -> None:
    (folder / "0003_index.sql").write_text(
        "-- no-transaction\nCREATE INDEX CONCURRENTLY traces_said ON traces (nothing)"
    )
    with pytest.raises(MigrationError, match=r"0003_index\.sql failed"):
        migrate(empty, folder=folder)
    assert "0003_index.sql" not in recorded(empty)


def test_concurrent_processes_apply_each_file_once(empty: Database, folder: Path) -> None:
    (folder / "0003_slow.sql").write_text(
        "SELECT pg_sleep(0.3); INSERT INTO traces VALUES ('slow')"
    )
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty, folder=folder), range(4)))
    assert sorted(len(names) for names in applied) == [0, 0, 0, 3]
    assert traces(empty) == ["first", "slow"]


def test_waiting_for_another_process_does_not_block_its_concurrent_index(
    empty: Database, folder: Path
) -> None:
    """CREATE INDEX CONCURRENTLY waits for every open snapshot: a waiting session must hold none."""
    (folder / "0003_slow.sql").write_text("SELECT pg_sleep(0.3)")
    (folder / "0004_index.sql").write_text(
        "-- no-transaction\nCREATE INDEX CONCURRENTLY traces_said ON traces (said)"
    )
    with ThreadPoolExecutor(3) as pool:
        applied = list(pool.map(lambda _: migrate(empty, folder=folder), range(3)))
    assert sorted(len(names) for names in applied) == [0, 0, 4]


def test_separate_processes_migrate_an_empty_server_together(empty: Database) -> None:
    script = (
        "import sys; from rag_assets.postgres.database import Database; "
        "from rag_assets.postgres.migrations import migrate; "
        "sys.stdout.write(' '.join(migrate(Database(sys.argv[1]))))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, empty.conninfo], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    names = [file.name for file in read_migrations()]
    assert sorted(said) == ["", " ".join(names)]
    assert pending(empty) == ()


def test_pending_migrations_are_named_and_nothing_is_written(
    empty: Database, template_database: Database
) -> None:
    empty.create()
    assert pending(empty) == tuple(file.name for file in read_migrations())
    with empty.connect() as connection:
        assert connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)
    assert pending(template_database) == ()


def test_a_folder_without_migrations_is_refused(empty: Database, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no migrations in"):
        migrate(empty, folder=tmp_path)


def test_a_checkout_uses_its_own_folder() -> None:
    assert migrations_folder() == ROOT / "sql" / "migrations"
    names = [file.name for file in read_migrations()]
    assert names[:2] == ["0001_bible_corpus.sql", "0002_embedding.sql"]
    assert names == sorted(names)


def test_the_wheel_contains_the_migrations_and_uses_them(tmp_path: Path) -> None:
    """Installed without a checkout, the package reads the same files from the wheel."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "import sys; from rag_assets.postgres import migrations as m; assert 'site' in m.__file__; "
        "sys.stdout.write(' '.join(f.checksum for f in m.read_migrations()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "site",
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert said.split() == [file.checksum for file in read_migrations()]
    packaged = tmp_path / "site" / "rag_assets" / "postgres" / "migrations"
    assert (packaged / "0001_bible_corpus.sql").is_file()
