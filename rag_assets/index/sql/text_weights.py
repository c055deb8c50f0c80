"""The measured weights of words: recorded with the checks' results, and read by a release."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.check_results import record_check
from rag_assets.vectors.sql.tables import VectorTable, revision

TEXT_WEIGHTS_CHECK = "text_weights"
_SUBJECT = "languages"


def recorded_weights(connection: Connection, table: VectorTable) -> Mapping[str, float]:
    """The weights of words, by language of the passages, where they differ from the default."""
    measured = _measured(connection, table)
    return measured["weights"] if measured else {}


def measured_languages(connection: Connection, table: VectorTable) -> frozenset[str]:
    """The languages that the recorded weights were measured in."""
    measured = _measured(connection, table)
    return frozenset(measured["languages"] if measured else ())


def record_weights(
    connection: Connection,
    table: VectorTable,
    weights: Mapping[str, float],
    *,
    languages: Collection[str],
    run_id: str,
) -> None:
    """Record weights for the next release."""
    record_check(
        connection,
        table,
        subject=_SUBJECT,
        check=TEXT_WEIGHTS_CHECK,
        reasons=(),
        measured={"weights": dict(weights), "languages": sorted(languages)},
        revision=revision(connection, table).number,
        run_id=run_id,
    )


def _measured(connection: Connection, table: VectorTable) -> Any:
    row = connection.execute(
        "SELECT measured FROM check_results"
        " WHERE (corpus, space_id, subject, check_name) = (%s, %s, %s, %s)",
        (table.corpus, table.space.space_id, _SUBJECT, TEXT_WEIGHTS_CHECK),
    ).fetchone()
    return row[0] if row else None
