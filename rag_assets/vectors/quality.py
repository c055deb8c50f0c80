"""The quality checks that every corpus' vectors must pass, decided from counts of faults.

The faults are counted by :mod:`rag_assets.vectors.sql.faults`, over rows that each slice selects.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.check_results import record_check
from rag_assets.vectors.sql.faults import FaultCounts
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import VectorTable


@dataclass(frozen=True)
class RowWords:
    """The words for a slice's rows: their name, the fault if there are none, and the fix."""

    rows: str
    empty: str
    fix: str


@dataclass(frozen=True)
class SpaceQuality:
    """The fault counts of one scope in one space, and the revision of the data counted."""

    table: VectorTable
    counts: FaultCounts
    words: RowWords
    revision: int = 0

    @property
    def space(self) -> Space:
        return self.table.space


@dataclass(frozen=True)
class QualityVerdict:
    """One check's outcome; it passes if there are no failures.

    :param examples: faulty rows, with what was found.
    """

    check: str
    failures: tuple[str, ...]
    examples: tuple[str, ...]


QUALITY_CHECKS = {
    "dimension_consistency": "Every vector has the dimension of its space.",
    "completeness": "Every verse or chunk has a vector.",
    "freshness": "Every vector belongs to the text that its row has now (by hash).",
    "finite_and_normalised": "No NaN, infinity or zero vector; every norm is 1 within 0.01.",
}

_NAMED = 5
"""Number of faulty rows to name in a failure."""

_FAULTS = {
    "dimension_consistency": "wrong_dimension",
    "completeness": "missing",
    "freshness": "stale",
    "finite_and_normalised": "wrong_norm",
}


def keep_evidence(
    connection: Connection,
    scope: str,
    spaces: Sequence[SpaceQuality],
    checks: Collection[str],
    *,
    run_id: str,
) -> None:
    """Record each check's result by space, for the gate."""
    for judged in spaces:
        counts = judged.counts
        failed = named_failures(judged)
        for check in checks:
            record_check(
                connection,
                judged.table,
                subject=scope,
                check=check,
                reasons=(failed[check],) if check in failed else (),
                measured={judged.words.rows: counts.rows, "embedded": counts.embedded},
                revision=judged.revision,
                run_id=run_id,
            )


def named_failures(judged: SpaceQuality) -> dict[str, str]:
    """By check that fails in one space, the failure with the first faulty rows."""
    return {
        check: named(sentence, judged.counts.examples.get(_FAULTS[check], ()))
        for check in QUALITY_CHECKS
        if (sentence := _failure(check, judged))
    }


def named(sentence: str, examples: Sequence[str]) -> str:
    """A failure message with the first examples."""
    if not examples:
        return sentence
    return f"{sentence} ({'; '.join(examples[:_NAMED])}{'; …' if len(examples) > _NAMED else ''})"


def judge_quality(spaces: Sequence[SpaceQuality]) -> tuple[QualityVerdict, ...]:
    """One verdict per check, in the order of :data:`QUALITY_CHECKS`. No counts are a failure."""
    return tuple(_verdict(check, spaces) for check in QUALITY_CHECKS)


def _verdict(check: str, spaces: Sequence[SpaceQuality]) -> QualityVerdict:
    if not any(judged.space.role == "small" for judged in spaces):
        return QualityVerdict(check, ("no vector was ever stored in the small space",), ())
    failures = []
    examples: list[str] = []
    for judged in spaces:
        if sentence := _failure(check, judged):
            failures.append(f"{judged.space.role}: {sentence}")
            rows = judged.counts.examples.get(_FAULTS[check], ())
            examples += (f"{judged.space.role}: {row}" for row in rows)
    return QualityVerdict(check, tuple(failures), tuple(examples))


def _failure(check: str, judged: SpaceQuality) -> str:
    counts, spec, words = judged.counts, judged.space.spec, judged.words
    if check == "completeness":
        if not counts.rows:
            return words.empty
        if counts.missing:
            return f"{counts.missing} of {counts.rows} {words.rows} have no vector in {spec}"
    if check == "dimension_consistency" and counts.wrong_dimension:
        return (
            f"{counts.wrong_dimension} vectors of {spec.model} have another dimension than "
            f"{spec.dimensions}"
        )
    if check == "freshness" and counts.stale:
        return f"{counts.stale} vectors belong to an earlier text: {words.fix}"
    if check == "finite_and_normalised" and counts.wrong_norm:
        return f"{counts.wrong_norm} vectors are not finite or not of norm 1"
    return ""
