"""The product's own steps from vectors to a release, each timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from benchmarks.index.bench import RUN_ID, say
from rag_assets.bible.quality import version_quality
from rag_assets.bible.sql.verses import stored_versions
from rag_assets.errors import GateRefusedError
from rag_assets.index.checks import CHECKS_OF, IndexVerdict, judge_index
from rag_assets.index.indexed_tables import candidate_table
from rag_assets.index.maintain import IndexOutcome, IndexRequest, maintain
from rag_assets.postgres.database import Database
from rag_assets.progress import LogLines
from rag_assets.release.releasing import evaluate_gate, release
from rag_assets.settings.model import Settings
from rag_assets.vectors.quality import QUALITY_CHECKS, judge_quality, keep_evidence
from rag_assets.vectors.sql.tables import VectorTable

Done = TypeVar("Done")


@dataclass
class Steps:
    """Steps done so far.

    :param rows: name, seconds, and what came of it.
    """

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def run(self, name: str, work: Callable[[], Done], of: Callable[[Done], str]) -> Done:
        """Do one step and keep its time.

        :param of: what came of it, in words.
        """
        say(name)
        began = time.perf_counter()
        done = work()
        self.rows.append((name, f"{time.perf_counter() - began:.1f}", of(done)))
        return done


def to_release(database: Database, settings: Settings, steps: Steps) -> tuple[VectorTable, bool]:
    """Judge the vectors, keep the index, check it, ask the gate, release.

    :returns: the table, and whether it is released; a refusal is a step with its reasons.
    """
    with database.connect() as connection:
        table = candidate_table(connection, settings)
    steps.run("checks of the vectors", lambda: check_versions(database, settings), _sentences)
    steps.run("index", lambda: _maintain(database, settings, table), _of_index)
    checks = judge_index(
        database, settings, table, CHECKS_OF["bible"], run_id=RUN_ID, progress=LogLines(say)
    )
    for check in CHECKS_OF["bible"]:  # one pass over the table for all of them
        steps.run(f"check {check}", partial(_next, checks), _sentences)
    steps.run("gate", lambda: _gate(database, settings), _sentences)
    refused = steps.run("release", lambda: _release(database, settings), _sentences)
    return table, not refused


def check_versions(database: Database, settings: Settings) -> Sequence[str]:
    """The vectors' checks of each version, kept as evidence; what failed."""
    failures: list[str] = []
    with database.connect() as connection:
        for version in stored_versions(connection):
            spaces = version_quality(connection, settings, version.code)
            keep_evidence(connection, version.code, spaces, list(QUALITY_CHECKS), run_id=RUN_ID)
            failures += (
                f"{version.code}: {one}" for v in judge_quality(spaces) for one in v.failures
            )
    return failures


def _maintain(database: Database, settings: Settings, table: VectorTable) -> IndexOutcome:
    return maintain(
        database, settings, table, IndexRequest(), run_id=RUN_ID, progress=LogLines(say)
    )


def _of_index(outcome: IndexOutcome) -> str:
    made = outcome.generation
    if made is None:
        return f"{outcome.decision.action}: {'; '.join(outcome.decision.reasons)}"
    return (
        f"{made.lists:,} lists, {made.index_bytes / 1e6:,.0f} MB, {made.build_seconds:.1f} s of it "
        f"built; {made.probes}"
    )


def _next(checks: Iterator[IndexVerdict]) -> Sequence[str]:
    return next(checks).failures


def _gate(database: Database, settings: Settings) -> Sequence[str]:
    with database.connect() as connection:
        _, verdict = evaluate_gate(connection, settings)
    return [str(reason) for reason in verdict.reasons]


def _release(database: Database, settings: Settings) -> Sequence[str]:
    try:
        release(database, settings, run_id=RUN_ID, progress=LogLines(say))
    except GateRefusedError as refusal:
        return [str(refusal)]
    return []


def _sentences(failures: Sequence[str]) -> str:
    return "; ".join(failures) or "passed"
