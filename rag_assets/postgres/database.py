"""The addresses of the databases, and connections to them.

Statements belong in the slices' ``sql`` modules.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import kwargs_row

from rag_assets.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    DatabaseUnusableError,
    RagAssetsError,
)
from rag_assets.postgres import embedded
from rag_assets.settings.model import Settings

CORPUS_DATABASE = "bible_api"
"""The database on the embedded server; otherwise RAG_DATABASE_URL names it."""

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]
Row = TypeVar("Row")

_ENDED_BY_SERVER = ("57P", "08", "25P03")
"""Prefixes of the SQLSTATEs with which the server ends a session: shutdown, killed, timed out."""
CONNECTION_ERRORS = frozenset(
    (
        psycopg.OperationalError.__name__,  # also the name in psycopg2 and SQLAlchemy
        psycopg.InterfaceError.__name__,
        *(
            psycopg.errors.lookup(state).__name__
            for state in (
                *("08000", "08001", "08003", "08004", "08006", "08007", "08P01"),
                *("25P03", "57P01", "57P02", "57P03", "57P04", "57P05"),
            )
        ),
    )
)
"""Class names of lost connections, as for :func:`session_lost`, for when only a name is known: the
errors of Dagster's storage come from SQLAlchemy and psycopg2, which use the same names."""


_OF_TLS = (
    "certificate verify failed",
    "does not match host name",
    "root certificate file",
    "server does not support SSL",
    "no encryption",
    "channel binding",
)
"""Parts of libpq's and the server's messages when TLS fails."""


def one(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    """The row of a statement that always returns one."""
    row: tuple[Any, ...] | None = cursor.fetchone()
    if row is None:
        raise LookupError("a statement that always answers a row answered none")
    return row


def fetch_all(
    connection: Connection,
    make: Callable[..., Row],
    query: LiteralString | sql.SQL | sql.Composed,
    values: Sequence[object] | Mapping[str, object] | None = None,
) -> tuple[Row, ...]:
    """The rows of a statement as objects; columns are named like the parameters of ``make``."""
    with connection.cursor(row_factory=kwargs_row(make)) as cursor:
        return tuple(cursor.execute(query, values).fetchall())


def session_lost(error: BaseException) -> bool:
    """Whether an error means that the session has ended, even if the connection looks open."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:  # raised by the connection, not the server
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_ENDED_BY_SERVER)


@dataclass(frozen=True)
class Database:
    """One database on one server. ``conninfo`` may contain a password and is never shown."""

    conninfo: str

    def __repr__(self) -> str:
        return f"Database({self.describe()})"

    def describe(self) -> str:
        """Host, port, database and user, for messages and logs."""
        parts = conninfo_to_dict(self.conninfo)
        host = parts.get("host") or "localhost"
        return f"{parts.get('dbname')} on {host}:{parts.get('port') or 5432} as {parts.get('user')}"

    def named(self, name: str) -> Database:
        """Another database on the same server."""
        return Database(make_conninfo(self.conninfo, dbname=name))

    def parameters(self) -> dict[str, str]:
        """The connection's parameters by libpq's names, including the password."""
        return {key: str(value) for key, value in conninfo_to_dict(self.conninfo).items()}

    @property
    def name(self) -> str:
        return str(conninfo_to_dict(self.conninfo).get("dbname"))

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A connection that commits at the end of the block, or rolls back if the block raises.

        :raises DatabaseUnavailableError: the server is unreachable, or was lost during the block.
        :raises DatabaseUnusableError: the server refuses the user, password or database.
        """
        try:
            connection = psycopg.connect(self.conninfo, autocommit=autocommit)
        except psycopg.OperationalError as error:
            raise self.explain(error) from None
        try:
            with connection:
                yield connection
        except psycopg.Error as error:
            if connection.broken or session_lost(error):
                raise self.explain(error) from error
            raise

    @asynccontextmanager
    async def connect_async(self) -> AsyncIterator[AsyncConnection]:
        """An autocommitting connection for one event loop. Raises as :meth:`connect`."""
        try:
            connection = await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True)
        except psycopg.OperationalError as error:
            raise self.explain(error) from None
        try:
            async with connection:
                yield connection
        except psycopg.Error as error:
            if connection.broken or session_lost(error):
                raise self.explain(error) from error
            raise

    def create(self) -> bool:
        """Create this database if it does not exist; return whether it was created."""
        try:
            with self.connect():
                return False
        except DatabaseUnusableError:
            pass
        with self.named("postgres").connect(autocommit=True) as connection:
            exists = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (self.name,)
            ).fetchone()
            if exists:
                return False
            try:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                return False  # another process has just created it
            except psycopg.errors.InsufficientPrivilege:
                raise DatabaseUnusableError(
                    f"database {self.name} does not exist and this user may not create it: "
                    f'CREATE DATABASE "{self.name}" as an administrator, then try again'
                ) from None
        return True

    def explain(self, error: psycopg.Error | str) -> RagAssetsError:
        """The error to raise for one of connecting, or of a session that ended."""
        # libpq gives no SQLSTATE for a refused connection, only a message. An unknown message
        # counts as "unavailable" and is quoted.
        reason = " ".join(str(error).split())
        where = self.describe()
        if "password authentication failed" in reason or "no password supplied" in reason:
            return DatabaseUnusableError(
                f"PostgreSQL refuses the user or password for {where}: "
                "correct them in RAG_DATABASE_URL"
            )
        if any(sign in reason for sign in _OF_TLS):
            return DatabaseUnusableError(
                f"TLS with {where} fails: check sslmode and sslrootcert in RAG_DATABASE_URL, and "
                f"the server's certificate ({reason})"
            )
        if "does not exist" in reason:
            return DatabaseUnusableError(
                f"PostgreSQL has no such database or user ({where}): "
                "`rag-assets db migrate` creates the database; the user must exist"
            )
        if "too many clients" in reason or "remaining connection slots" in reason:
            return DatabaseUnavailableError(
                f"PostgreSQL takes no more connections ({where}): raise its max_connections, or "
                f"end what holds them ({reason})"
            )
        if "not currently accepting connections" in reason:
            return DatabaseUnavailableError(
                f"PostgreSQL answers, and {self.name} is not currently accepting connections "
                f'({where}): `ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS true` ends that'
            )
        return DatabaseUnavailableError(
            f"PostgreSQL cannot be reached ({where}): is it running, and is RAG_DATABASE_URL "
            f"right? ({reason})"
        )


def embedded_folder(settings: Settings) -> Path:
    """The data directory of the embedded server."""
    return settings.rag_home / "postgres"


def open_database(settings: Settings) -> Database:
    """The corpus database: RAG_DATABASE_URL's, or the embedded server's, started if needed.

    Creates nothing in it; that is the task of :func:`rag_assets.postgres.migrations.migrate`.

    :raises ConfigurationError: RAG_DATABASE_URL is not an address of PostgreSQL.
    """
    timeout = settings.rag_database_connect_timeout_s
    if settings.rag_database_url is None:
        uri = embedded.ensure_running(embedded_folder(settings))
        return Database(make_conninfo(uri, dbname=CORPUS_DATABASE, connect_timeout=timeout))
    parts = _parts(settings, "RAG_DATABASE_URL", settings.rag_database_url.get_secret_value())
    if "," in str(parts.get("host")):  # any of them may be the primary after a failover
        parts.setdefault("target_session_attrs", "read-write")
    _bound_silence(parts, settings, settings.rag_database_silence_s)
    return Database(make_conninfo("", **parts))


def _bound_silence(parts: dict[str, Any], settings: Settings, seconds: int) -> None:
    """Make both sides detect a broken network, so that locks do not outlive their owner by hours.

    A pooler has its own connections to the server, and rejects such options.
    """
    keepalives = {
        "keepalives_idle": seconds // 2,
        "keepalives_interval": seconds // 6,
        "keepalives_count": 3,
        "tcp_user_timeout": 1000 * seconds,  # ms that sent data may remain unacknowledged
    }
    for name, value in keepalives.items():
        parts.setdefault(name, value)
    local = str(parts.get("host") or "/").startswith(("/", "@"))
    if not (local or settings.rag_database_pooled):
        ours = [f"-c tcp_{name.removeprefix('tcp_')}={value}" for name, value in keepalives.items()]
        parts["options"] = " ".join([*ours, parts.get("options") or ""]).strip()


def open_replica(settings: Settings) -> Database | None:
    """The corpus database on the standbys of RAG_DATABASE_READ_URL, if that is set.

    :raises ConfigurationError: it is not an address of PostgreSQL, or RAG_DATABASE_URL is not set.
    """
    if settings.rag_database_read_url is None:
        return None
    if settings.rag_database_url is None:
        raise ConfigurationError(
            "RAG_DATABASE_READ_URL is a replica of RAG_DATABASE_URL: set that, too"
        )
    url = settings.rag_database_read_url.get_secret_value()
    parts = _parts(settings, "RAG_DATABASE_READ_URL", url)
    parts.setdefault("target_session_attrs", "prefer-standby")
    # It holds no locks, and searches can fall back to the primary, so a short limit is enough.
    _bound_silence(parts, settings, max(6, 2 * settings.rag_database_read_patience_s))
    return Database(make_conninfo("", **parts))


def _parts(settings: Settings, name: str, url: str) -> dict[str, Any]:
    """Parse the address in a setting, with password and time-out from other settings."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            f"{name} is not an address of PostgreSQL: write it as "
            "postgresql://user:password@host:5432/database"
        ) from None
    if "@" in f"{parts.get('host')}{parts.get('dbname')}":
        # What libpq takes for the host or database contains a part of the password.
        raise ConfigurationError(f"{name}'s password holds an @ or a /: write them as %40 and %2F")
    if not parts.get("dbname"):
        raise ConfigurationError(f"{name} names no database: end it with /bible_api")
    if settings.rag_database_password is not None:
        parts.setdefault("password", settings.rag_database_password.get_secret_value())
    parts.setdefault("connect_timeout", settings.rag_database_connect_timeout_s)
    return parts


def dagster_database(settings: Settings) -> Database:
    """The database of Dagster's own state, on the same server; it may not exist yet."""
    corpus = open_database(settings)
    return corpus.named(settings.rag_dagster_database or f"{corpus.name}_dagster")


def open_dagster_database(settings: Settings) -> Database:
    """The database of Dagster's own state, which is created if it does not exist."""
    database = dagster_database(settings)
    database.create()
    return database
