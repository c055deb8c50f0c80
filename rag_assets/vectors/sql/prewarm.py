"""Load what searches read, the codes and the live index, into the server's memory."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from rag_assets.postgres.database import Connection, one


def prewarm(connection: Connection, relations: Sequence[str]) -> int:
    """Load tables and indexes into the server's memory; return the number of bytes.

    Uses the extension ``pg_prewarm`` if an administrator has created it and the role may use it.
    Without it, tables are scanned, and indexes are left to the first searches.

    :param relations: names; those that no longer exist are skipped.
    """
    (extension,) = one(
        connection.execute(
            "SELECT coalesce(has_function_privilege(to_regproc('pg_prewarm'), 'EXECUTE'), false)"
        )
    )
    read = 0
    for name in relations:
        row = connection.execute(
            "SELECT relkind, pg_relation_size(oid) FROM pg_class WHERE oid = to_regclass(%s)",
            (name,),
        ).fetchone()
        if row is None:
            continue
        kind, size = row
        if extension:
            connection.execute("SELECT pg_prewarm(%s::regclass)", (name,))
        elif kind == "r":
            connection.execute(sql.SQL("SELECT count(code) FROM {}").format(sql.Identifier(name)))
        else:
            continue
        read += int(size)
    return read
