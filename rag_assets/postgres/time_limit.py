"""How long the server may work on what a service asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress

import psycopg
from psycopg.pq import TransactionStatus

from rag_assets.errors import SearchTimeoutError
from rag_assets.postgres.database import Connection


@contextmanager
def limited(
    connection: Connection,
    timeout_ms: int,
    settings: Mapping[str, str] | None = None,
    *,
    writes: bool = False,
) -> Iterator[None]:
    """A transaction of whose statements the server gives up each after so long; 0 for never.

    It is sent in one round trip where results are fetched after it. The limit holds for it only, as
    a transaction pooler needs it. On an idle connection that autocommits, a pipeline is a
    transaction by itself, up to its end or to a transaction within it: BEGIN and COMMIT in it would
    take a third of a millisecond.

    :param settings: of PostgreSQL, for this transaction.
    :param writes: or may begin transactions within it: then it is rolled back on any error.
    :raises SearchTimeoutError: the server gave up.
    """
    # Compiling a scan of many rows costs more than it gains in one this short.
    chosen = {"statement_timeout": str(timeout_ms), "jit": "off", **(settings or {})}
    idle = connection.info.transaction_status == TransactionStatus.IDLE
    alone = connection.autocommit and idle and not writes
    try:
        with connection.pipeline(), nullcontext() if alone else connection.transaction():
            set_local(connection, chosen)
            yield
    except psycopg.Error as error:
        if alone and not connection.broken:
            # psycopg takes a statement for prepared that failed to be, until it rolls back.
            with suppress(psycopg.Error), connection.transaction(force_rollback=True):
                pass
        if not isinstance(error, psycopg.errors.QueryCanceled):
            raise
        raise SearchTimeoutError(
            f"the search took more than {timeout_ms} ms and was given up "
            "(RAG_API_STATEMENT_TIMEOUT_MS)"
        ) from error


def set_local(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set PostgreSQL's settings for the rest of the transaction."""
    connection.execute(
        "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[])"
        " AS chosen (name, value)",
        (list(settings), list(settings.values())),
    )
