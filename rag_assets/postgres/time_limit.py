"""How long the server may work on what a service asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from rag_assets.errors import SearchTimeoutError
from rag_assets.postgres.database import Connection


@contextmanager
def limited(connection: Connection, timeout_ms: int) -> Iterator[None]:
    """A transaction of whose statements the server gives up each after so long; 0 for never.

    It is sent in one round trip. The limit holds for it only, as a transaction pooler needs it.

    :raises SearchTimeoutError: the server gave up.
    """
    try:
        with connection.pipeline(), connection.transaction():
            # Compiling a scan of many rows costs more than it gains in one this short.
            connection.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true)",
                (str(timeout_ms),),
            )
            yield
    except psycopg.errors.QueryCanceled as error:
        raise SearchTimeoutError(
            f"the search took more than {timeout_ms} ms and was given up "
            "(RAG_API_STATEMENT_TIMEOUT_MS)"
        ) from error
