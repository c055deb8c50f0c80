"""The rows of a release as they were when it was judged: their number and digest by version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from psycopg import sql

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.digests import row_digest
from rag_assets.vectors.sql.served import Release
from rag_assets.vectors.sql.spaces import space_by_id
from rag_assets.vectors.sql.tables import bible_table


@dataclass(frozen=True)
class RowsDigest:
    """The rows of one version in one space.

    :param digest: the sum of their digests, in any order.
    """

    rows: int
    digest: Decimal


def record_released_rows(connection: Connection, release: Release) -> None:
    """Record the rows of each version that a release serves, in its transaction.

    Reads every vector once. Documents change all the time and have no such record.
    """
    roles = {one.space_id: one.role for one in release.spaces if one.corpus == "bible"}
    for space_id, role in roles.items():
        table = bible_table(space_by_id(connection, space_id, role))
        connection.execute(
            sql.SQL(
                """
                INSERT INTO released_rows (release_id, space_id, scope, rows, digest)
                SELECT %s, %s, version_code, count(*), sum({digest})
                  FROM {table} e WHERE version_code = ANY(%s) GROUP BY version_code
                """
            ).format(digest=row_digest(table), table=table.identifier),
            (release.release_id, space_id, list(release.versions)),
        )


def released_rows(connection: Connection, release_id: int) -> Mapping[tuple[int, str], RowsDigest]:
    """By space and version, what :func:`record_released_rows` wrote. Uses the primary key."""
    rows = connection.execute(
        "SELECT space_id, scope, rows, digest FROM released_rows WHERE release_id = %s",
        (release_id,),
    ).fetchall()
    return {(space_id, scope): RowsDigest(count, digest) for space_id, scope, count, digest in rows}
