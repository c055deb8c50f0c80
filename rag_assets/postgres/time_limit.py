"""Time limits for a service's statements."""

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
    """Run a transaction with a time limit for each statement; 0 for none.

    Takes one round trip if results are fetched after the block. The limit applies to this
    transaction only, for the sake of transaction poolers. On an idle autocommitting connection, a
    pipeline is implicitly a transaction, until it ends or a transaction begins in it. That saves
    BEGIN and COMMIT, which take a third of a millisecond.

    Within a transaction it is a savepoint, and the settings end with the block all the same.

    :param settings: PostgreSQL settings for this transaction.
    :param writes: the block writes or begins transactions, so roll back on any error.
    :raises SearchTimeoutError: a statement ran into its time limit.
    """
    # JIT compilation costs more than it gains in statements this short.
    chosen = {"statement_timeout": str(timeout_ms), "jit": "off", **(settings or {})}
    idle = connection.info.transaction_status == TransactionStatus.IDLE
    alone = connection.autocommit and idle and not writes
    try:
        with connection.pipeline(), nullcontext() if alone else connection.transaction():
            set_local(connection, chosen)
            yield
            if not idle:  # they would outlive the savepoint
                set_local(connection, dict.fromkeys(chosen))
    except psycopg.Error as error:
        if alone and not connection.broken:
            # psycopg considers a statement prepared even if that failed, until a rollback.
            with suppress(psycopg.Error), connection.transaction(force_rollback=True):
                pass
        if not isinstance(error, psycopg.errors.QueryCanceled):
            raise
        raise SearchTimeoutError(
            f"the search took more than {timeout_ms} ms and was given up "
            "(RAG_API_STATEMENT_TIMEOUT_MS)"
        ) from error


def set_local(connection: Connection, settings: Mapping[str, str | None]) -> None:
    """Change PostgreSQL settings for the rest of the transaction; ``None`` for the session's."""
    connection.execute(
        "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[])"
        " AS chosen (name, value)",
        (list(settings), list(settings.values())),
    )
