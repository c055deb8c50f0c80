"""Apply ``sql/migrations/*.sql`` in order, each once, recorded with a checksum.

A file runs in one transaction, unless its first line is ``-- no-transaction`` (for statements such
as CREATE INDEX CONCURRENTLY, one per file) or ``-- in-parts`` (for indexing many rows while they
are in use): its query is then repeated, each time in its own transaction, until it returns false.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import psycopg

from rag_assets.errors import DatabaseUnusableError, MigrationError
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database, one, open_database
from rag_assets.settings.model import Settings

MIN_POSTGRES = 15
MIN_PGVECTOR = (0, 7)

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text PRIMARY KEY,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True)
class Migration:
    """One file."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        return not self.text.startswith("-- no-transaction")

    @property
    def in_parts(self) -> bool:
        return self.text.startswith("-- in-parts")


def migrations_folder() -> Path:
    """``sql/migrations`` in the checkout, or its copy in the installed wheel."""
    packaged = Path(__file__).parent / "migrations"
    checkout = Path(__file__).parents[2] / "sql" / "migrations"
    return checkout if checkout.is_dir() else packaged


def read_migrations(folder: Path | None = None) -> tuple[Migration, ...]:
    """Read the files, in order of their names."""
    files = sorted((folder or migrations_folder()).glob("*.sql"))
    if not files:
        raise MigrationError(f"no migrations in {folder or migrations_folder()}: reinstall")
    return tuple(Migration(file.name, file.read_text(encoding="utf-8")) for file in files)


def open_migrated(settings: Settings) -> Database:
    """Open the corpus database and apply pending migrations."""
    database = open_database(settings)
    migrate(database)
    return database


def migrate(database: Database, *, folder: Path | None = None) -> tuple[str, ...]:
    """Create the database if necessary and apply pending migrations.

    Safe if several processes start concurrently: one applies, and the others wait for it.

    :returns: the names of the migrations applied by this call.
    :raises DatabaseUnusableError: PostgreSQL or pgvector is too old or missing.
    :raises MigrationError: an applied file was edited or is unknown here, or a statement failed.
    """
    wanted = read_migrations(folder)
    database.create()
    applied_now = []
    with database.connect(autocommit=True) as connection:
        check_server(connection)
        if _exists(connection) and not _pending(wanted, _applied(connection)):
            return ()  # needs only read privileges, which is all that the API's role has
        locks.lock_session(connection, locks.MIGRATING)
        connection.execute(_LEDGER)
        for migration in _pending(wanted, _applied(connection)):
            _apply(connection, migration)
            applied_now.append(migration.name)
    return tuple(applied_now)


def pending(database: Database) -> tuple[str, ...]:
    """Names of the migrations that are not applied yet. Raises as :func:`migrate`."""
    wanted = read_migrations()
    with database.connect() as connection:
        done = _applied(connection) if _exists(connection) else {}
    return tuple(migration.name for migration in _pending(wanted, done))


@dataclass(frozen=True)
class ServerVersions:
    """Versions reported by the server.

    :param pgvector: the version installed in this database, or the one that would be.
    :param pgvector_library: the version on the server's disk, which may be newer.
    """

    postgres: str
    postgres_major: int
    pgvector: str | None
    pgvector_installed: bool
    pgvector_library: str | None = None


def server_versions(connection: Connection) -> ServerVersions:
    """Query the server's versions."""
    row = one(
        connection.execute(
            """
        SELECT current_setting('server_version'),
               current_setting('server_version_num')::int / 10000,
               (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
               (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')
        """
        )
    )

    version, major, installed, available = row
    return ServerVersions(version, major, installed or available, installed is not None, available)


def check_server(connection: Connection) -> ServerVersions:
    """Refuse a server that is too old or has no pgvector; the message says what to do."""
    found = server_versions(connection)
    if found.postgres_major < MIN_POSTGRES:
        raise DatabaseUnusableError(
            f"PostgreSQL {found.postgres} is too old: {MIN_POSTGRES} or newer is needed"
        )
    if found.pgvector is None:
        raise DatabaseUnusableError(
            "this PostgreSQL has no pgvector: install the package "
            f"postgresql-{found.postgres_major}-pgvector (or your provider's `vector` extension) "
            "on the server"
        )
    if tuple(int(part) for part in found.pgvector.split(".")[:2]) < MIN_PGVECTOR:
        raise DatabaseUnusableError(
            f"pgvector {found.pgvector} is too old: 0.7 or newer is needed "
            "(install it, then ALTER EXTENSION vector UPDATE)"
        )
    return found


def _exists(connection: Connection) -> bool:
    return bool(one(connection.execute("SELECT to_regclass('schema_migrations')"))[0])


def _applied(connection: Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())


def _pending(wanted: tuple[Migration, ...], done: dict[str, str]) -> tuple[Migration, ...]:
    """Those that are not applied yet, after verifying those that are."""
    known = {migration.name: migration for migration in wanted}
    for name, checksum in done.items():
        if name not in known:
            raise MigrationError(
                f"the database has migration {name}, which this version does not know: "
                "it was migrated by a newer rag-assets; upgrade this one"
            )
        if known[name].checksum != checksum:
            raise MigrationError(
                f"migration {name} was edited after it was applied: restore it, "
                "and put the change into a new file"
            )
    return tuple(migration for migration in wanted if migration.name not in done)


def _apply(connection: Connection, migration: Migration) -> None:
    try:
        if migration.in_parts:
            while one(connection.execute(migration.text))[0]:
                pass
            _record(connection, migration)
        elif migration.transactional:
            with connection.transaction():
                connection.execute(migration.text)
                _record(connection, migration)
        else:
            connection.execute(migration.text)
            _record(connection, migration)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseUnusableError(
            f"migration {migration.name} needs a right that this user lacks: "
            f"{error.diag.message_primary}. "
            "For the extension, an administrator may run CREATE EXTENSION vector in this database"
        ) from error
    except psycopg.Error as error:
        raise MigrationError(f"migration {migration.name} failed: {error}") from error


def _record(connection: Connection, migration: Migration) -> None:
    connection.execute(
        "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)",
        (migration.name, migration.checksum),
    )
