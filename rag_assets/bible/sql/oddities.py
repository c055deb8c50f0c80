"""What was unusual in a version's source, kept with the version."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg.types.json import Jsonb

from rag_assets.bible.model import Oddity, OddityKind
from rag_assets.postgres.database import Connection


def store_oddities(
    connection: Connection, code: str, oddities: Iterable[Oddity], *, run_id: str
) -> None:
    """Replace those of a version that this run has written."""
    found = [(one.kind.value, _storable(one.reference), _storable(one.detail)) for one in oddities]
    connection.execute(
        "UPDATE bible_versions SET oddities = %s WHERE version_code = %s",
        (Jsonb({"run_id": run_id, "found": found}), code),
    )


def stored_oddities(connection: Connection, code: str) -> tuple[Oddity, ...] | None:
    """Those that the version's last load found; ``None`` where they are not known."""
    row = connection.execute(
        """
        SELECT oddities -> 'found' FROM bible_versions
         WHERE version_code = %s AND oddities ->> 'run_id' = run_id
        """,
        (code,),
    ).fetchone()
    if row is None:
        return None
    known = {kind.value for kind in OddityKind}  # not those of a later release
    return tuple(
        Oddity(OddityKind(kind), reference, detail)
        for kind, reference, detail in row[0]
        if kind in known
    )


def _storable(text: str) -> str:
    """JSON in PostgreSQL takes neither NUL nor the odd bytes of a file's name."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
