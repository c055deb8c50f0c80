"""Hand-made passing evidence, to be spoilt one piece at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rag_assets.index.checks import INDEX_CHECKS
from rag_assets.index.sql.generations import Generation, RecordedDecision
from rag_assets.release.evidence import Evidence, IndexEvidence, SpaceEvidence, VersionEvidence
from rag_assets.release.gate import GateVerdict, Reason, judge_release
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.check_results import CheckResult
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.served import Release
from rag_assets.vectors.sql.spaces import Role, Space, SpaceSpec
from rag_assets.vectors.sql.tables import VectorTable, bible_table

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
MAX_AGE = timedelta(hours=24)
ROWS = 100
PROBES = Probes(4, 9, 64)
SUBJECT = "generation 7"
TABLES: dict[Role, VectorTable] = {
    "small": bible_table(Space(1, "small", SpaceSpec("offline", "m", 64, "halfvec"), 0.0)),
    "large": bible_table(Space(2, "large", SpaceSpec("offline", "m", 96, "halfvec"), 0.0)),
}
GENERATION = Generation(
    number=7,
    precision="halfvec",
    lists=64,
    lists_from="profile",
    rows_at_build=ROWS,
    changed_at_build=ROWS,
    probes=PROBES,
    build_seconds=1.0,
    index_bytes=1,
    started_at=AT,
    run_id="build",
)


def result(
    check: str,
    *,
    subject: str,
    revision: int,
    reasons: tuple[str, ...] = (),
    measured: Mapping[str, object] | None = None,
    age: timedelta = timedelta(hours=1),
) -> CheckResult:
    """A check's result; it passed unless there are reasons."""
    return CheckResult(
        subject, check, not reasons, reasons, measured or {}, revision, "run", AT - age
    )


def space(code: str, *, revision: int, rows: int = ROWS) -> SpaceEvidence:
    """A version's vectors in one space, all checked."""
    results = {check: result(check, subject=code, revision=revision) for check in QUALITY_CHECKS}
    return SpaceEvidence(rows, revision, results)


def version(
    code: str, *, revision: int, large: bool = False, withheld: str = ""
) -> VersionEvidence:
    """A version of 100 verses, embedded and checked."""
    spaces: dict[Role, SpaceEvidence] = {"small": space(code, revision=revision)}
    if large:
        spaces["large"] = space(code, revision=revision)
    return VersionEvidence(code, ROWS, withheld, spaces)


def index(
    revision: int, versions: tuple[str, ...] = ("EN_A", "EN_B"), *, exact: bool = False
) -> IndexEvidence:
    """A decision on the current data, and its checks."""
    subject, probes = ("exact", None) if exact else (SUBJECT, PROBES)
    measured = {
        "versions": list(versions),
        "probes": probes.plain if probes else None,
        "filtered_probes": probes.filtered if probes else None,
    }
    return IndexEvidence(
        revision=revision,
        decision=RecordedDecision(
            "exact" if exact else "keep", None if exact else 7, ("why",), ROWS, revision, AT
        ),
        generation=None if exact else GENERATION,
        probes=probes,
        results={
            check: result(check, subject=subject, revision=revision, measured=measured)
            for check in INDEX_CHECKS
        },
    )


def passing(*, exact: bool = False, large: bool = False) -> Evidence:
    """Two versions and an index without any faults."""
    roles: tuple[Role, ...] = ("small", "large") if large else ("small",)
    return Evidence(
        at=AT,
        spaces={role: str(TABLES[role].space.spec) for role in roles},
        tables={role: TABLES[role] for role in roles},
        versions=(
            version("EN_A", revision=3, large=large),
            version("EN_B", revision=4, large=large),
        ),
        index=index(7, exact=exact),
        active=None,
        rolled_back=None,
    )


def judged(
    evidence: Evidence, *, leave_out_failing: bool = False, after_rollback: bool = False
) -> GateVerdict:
    """The gate's verdict, with results valid for a day."""
    return judge_release(
        evidence,
        max_age=MAX_AGE,
        leave_out_failing=leave_out_failing,
        after_rollback=after_rollback,
    )


def with_version(evidence: Evidence, changed: VersionEvidence) -> Evidence:
    """A copy with a version replaced or added."""
    others = tuple(one for one in evidence.versions if one.code != changed.code)
    together = sorted((*others, changed), key=lambda one: one.code)
    return replace(evidence, versions=tuple(together))


def with_space(
    evidence: Evidence, code: str, changed: SpaceEvidence, role: Role = "small"
) -> Evidence:
    """A copy with other vectors of a version in one space."""
    (found,) = (one for one in evidence.versions if one.code == code)
    return with_version(evidence, replace(found, spaces={**found.spaces, role: changed}))


def with_result(
    evidence: Evidence, code: str, check: str, changed: CheckResult | None, role: Role = "small"
) -> Evidence:
    """A copy with another result of a version's check, or without one."""
    (found,) = (one for one in evidence.versions if one.code == code)
    results = {name: one for name, one in found.spaces[role].results.items() if name != check}
    if changed is not None:
        results[check] = changed
    return with_space(evidence, code, replace(found.spaces[role], results=results), role)


def with_index_result(evidence: Evidence, check: str, changed: CheckResult | None) -> Evidence:
    """A copy with another result of an index check, or without one."""
    assert evidence.index is not None
    results = {name: one for name, one in evidence.index.results.items() if name != check}
    if changed is not None:
        results[check] = changed
    return replace(evidence, index=replace(evidence.index, results=results))


def release_of(verdict: GateVerdict, *, release_id: int = 5, state: str = "active") -> Release:
    """A release of exactly what a verdict passed."""
    return Release(
        release_id=release_id,
        state=state,
        versions=verdict.versions,
        reasons=(),
        manifest={"content": verdict.content},
        previous_id=None,
        code_version="0",
        run_id="run",
        created_at=AT,
        activated_at=AT,
        ended_at=None,
        spaces=verdict.spaces,
    )


def only_reason(verdict: GateVerdict) -> Reason:
    """The only reason of a refusal."""
    assert not verdict.passed
    (reason,) = verdict.reasons
    return reason


def changed_index(evidence: Evidence, **changes: object) -> Evidence:
    """A copy with changed evidence on the index."""
    assert isinstance(evidence.index, IndexEvidence)
    return replace(evidence, index=replace(evidence.index, **changes))  # type: ignore[arg-type]
