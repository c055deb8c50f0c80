"""An overview of the database."""

from __future__ import annotations

from psycopg import sql

from rag_assets.postgres.database import Connection, one


def overview(connection: Connection) -> list[dict[str, object]]:
    """Return one row per space: its model, vectors, versions, and size on disk in MB."""
    spaces = connection.execute(
        """
        SELECT s.space_id, r.role, s.provider, s.model, s.precision || '(' || s.dimensions || ')',
               s.instructions
          FROM embedding_spaces s LEFT JOIN embedding_roles r USING (space_id)
         ORDER BY s.space_id
        """
    ).fetchall()
    rows = []
    for space_id, role, provider, model, column_type, instructions in spaces:
        name = f"verse_embeddings_s{space_id}"
        vectors, versions, size = one(
            connection.execute(
                sql.SQL(
                    "SELECT count(*), count(DISTINCT version_code), pg_total_relation_size(%s)"
                    " FROM {table}"
                ).format(table=sql.Identifier(name)),
                (name,),
            )
        )
        rows.append(
            {
                "space": f"s{space_id}",
                "role": role,
                "provider": provider,
                "model": model,
                "type": column_type,
                "instructions": instructions or None,
                "verses": vectors,
                "versions": versions,
                "MB": round(size / 1e6, 1),
            }
        )
    return rows


def embedded_counts(connection: Connection, space_id: int) -> dict[str, int]:
    """Count vectors by version in one space. Uses the version_code index."""
    rows = connection.execute(
        sql.SQL("SELECT version_code, count(*) FROM {table} GROUP BY version_code").format(
            table=sql.Identifier(f"verse_embeddings_s{space_id}")
        )
    ).fetchall()
    return dict(rows)
