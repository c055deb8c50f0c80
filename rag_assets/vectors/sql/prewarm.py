"""Reads what a search will read into memory: the codes and the index in force."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from rag_assets.postgres.database import Connection, one


def prewarm(connection: Connection, relations: Sequence[str]) -> int:
    """Read tables and indexes into the server's memory; bytes read.

    With the extension ``pg_prewarm`` where an administrator has created it and the role may use it.
    Without it tables are scanned, and indexes are left to the first searches.

    :param relations: names; those that are gone are passed over.
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
