"""The gate: evidence in, a verdict with all its reasons out. Pure; unknown is a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from rag_assets.embedding.quality import CHECKS
from rag_assets.index.checks import INDEX_CHECKS
from rag_assets.release.evidence import Evidence, IndexEvidence, SpaceEvidence, VersionEvidence
from rag_assets.store.check_results import CheckResult
from rag_assets.store.releases import ReleasedSpace
from rag_assets.store.spaces import Role

Kind = Literal["missing", "stale", "failed"]

INDEX = "index"
RELEASE = "release"


@dataclass(frozen=True)
class Reason:
    """One thing against the release.

    :param subject: a version's code, ``index`` or ``release``.
    """

    subject: str
    check: str
    kind: Kind
    sentence: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.check}: {self.sentence}"


@dataclass(frozen=True)
class Verdict:
    """What the gate says; it passes when there are no reasons.

    :param versions: to be served.
    :param left_out: versions that are not, with why: policy, nothing embedded yet, or failing.
    :param content: what makes this release another than the next; see :func:`_content`.
    :param unchanged: the active release serves just this already.
    """

    reasons: tuple[Reason, ...]
    versions: tuple[str, ...]
    left_out: Mapping[str, str]
    spaces: tuple[ReleasedSpace, ...]
    content: Mapping[str, object]
    unchanged: bool

    @property
    def passed(self) -> bool:
        return not self.reasons


def judge(
    evidence: Evidence,
    *,
    max_age: timedelta,
    leave_out_failing: bool,
    after_rollback: bool = False,
) -> Verdict:
    """Decide whether what the settings name may be served.

    :param max_age: how old a check's result may be.
    :param leave_out_failing: a version with reasons against it is left out; otherwise it refuses
        the whole release.
    :param after_rollback: a person says that what was rolled back is mended.
    """
    reasons: list[Reason] = []
    if evidence.index is None:
        reasons.append(_missing(RELEASE, "vectors", "nothing is embedded with the settings' model"))
    else:
        searched = [v.code for v in evidence.versions if not v.withheld and _rows(v, "small")]
        reasons += _index_reasons(evidence.index, searched, evidence.at, max_age)
    serve: list[VersionEvidence] = []
    left_out: dict[str, str] = {}
    for version in evidence.versions:
        absent = version.withheld or _not_ready(version, evidence)
        if absent:
            left_out[version.code] = absent
            continue
        against = list(_version_reasons(version, evidence, max_age))
        if not against:
            serve.append(version)
        elif leave_out_failing:
            left_out[version.code] = "; ".join(reason.sentence for reason in against)
        else:
            reasons += against
    if not serve and not reasons:
        reasons.append(_missing(RELEASE, "versions", "there is no version that may be served"))
    spaces = _spaces(evidence, serve)
    content = _content(evidence, serve, spaces)
    reasons += _lost_roles(evidence, spaces)
    unchanged = evidence.active is not None and evidence.active.manifest["content"] == content
    if evidence.rolled_back is not None and not (unchanged or after_rollback):
        reasons.append(_after_rollback(evidence.rolled_back))
    return Verdict(
        reasons=tuple(reasons),
        versions=tuple(version.code for version in serve),
        left_out=left_out,
        spaces=spaces,
        content=content,
        unchanged=unchanged,
    )


def _after_rollback(release_id: int) -> Reason:
    """What a person rolled back must not come back by itself, in whatever company."""
    return Reason(
        RELEASE,
        "rolled_back",
        "failed",
        f"release {release_id} was rolled back, and none was let through since: when what was "
        "wrong with it is mended, say so (rag-assets release activate --after-rollback, or "
        "after_rollback in the launchpad); to bring it back as it was, "
        f"rag-assets release activate {release_id}",
    )


def _lost_roles(evidence: Evidence, spaces: Sequence[ReleasedSpace]) -> Iterator[Reason]:
    """Re-ranking must not go unnoticed because one version lacks large vectors."""
    if evidence.active is None or not spaces:
        return
    kept = {space.role for space in spaces}
    if "large" in {space.role for space in evidence.active.spaces} - kept:
        lacking = [v.code for v in evidence.versions if not v.withheld and not _rows(v, "large")]
        yield _missing(
            RELEASE,
            "large_vectors",
            "the active release re-ranks by large vectors, and this one could not: materialize "
            f"verse_embeddings of {', '.join(lacking)} with them",
        )


def _not_ready(version: VersionEvidence, evidence: Evidence) -> str:
    """A version that was never embedded waits for its turn; one that is served now must not go."""
    served_now = evidence.active.versions if evidence.active else ()
    if _rows(version, "small") or version.code in served_now:
        return ""
    return "not embedded yet"


def _version_reasons(
    version: VersionEvidence, evidence: Evidence, max_age: timedelta
) -> Iterator[Reason]:
    """Each check of each space in which the version has anything."""
    mend = f"materialize verse_embeddings of {version.code}"
    if not _rows(version, "small"):
        where = evidence.spaces.get("small", "the settings' space")
        sentence = f"it is served now and has no vectors in {where}: {mend}"
        yield _missing(version.code, "completeness", sentence)
        return
    for role, space in version.spaces.items():
        if role == "large" and not space.rows:
            continue
        for check in CHECKS:
            yield from _result_reasons(
                version.code, check, space.results.get(check), space.revision or 0, evidence.at,
                max_age, mend=mend, where=role,
            )  # fmt: skip


def _index_reasons(
    index: IndexEvidence, searched: Sequence[str], at: datetime, max_age: timedelta
) -> Iterator[Reason]:
    mend = "materialize verse_embeddings_index"
    if index.decision is None:
        yield _missing(INDEX, "decision", f"nobody decided on an index yet: {mend}")
        return
    if index.decision.revision != index.revision:
        yield Reason(INDEX, "decision", "stale", f"vectors changed since it was decided on: {mend}")
    if index.decision.generation is not None and index.generation is None:
        yield Reason(
            INDEX,
            "decision",
            "failed",
            f"the index of generation {index.decision.generation} is gone or invalid: {mend}",
        )
    for check in INDEX_CHECKS:
        result = index.results.get(check)
        yield from _result_reasons(
            INDEX, check, result, index.revision, at, max_age, mend=mend, where=""
        )
        if result is not None and index.probes is not None and _other_probes(result, index):
            yield Reason(
                INDEX, check, "stale",
                f"it judged {result.measured.get('probes')} probes, a search would read "
                f"{index.probes.plain}: {mend}",
            )  # fmt: skip
        if result is not None and result.measured.get("versions") != sorted(searched):
            yield Reason(
                INDEX,
                check,
                "stale",
                f"it judged other versions than policy lets be served now: {mend}",
            )


def _other_probes(result: CheckResult, index: IndexEvidence) -> bool:
    if index.probes is None:
        return False
    judged = result.measured.get("probes"), result.measured.get("filtered_probes")
    return judged != (index.probes.plain, index.probes.filtered)


def _result_reasons(
    subject: str,
    check: str,
    result: CheckResult | None,
    revision: int,
    at: datetime,
    max_age: timedelta,
    *,
    mend: str,
    where: str,
) -> Iterator[Reason]:
    prefix = f"{where}: " if where else ""
    if result is None:
        yield _missing(subject, check, f"{prefix}it was never checked: {mend}")
        return
    if not result.passed:
        for sentence in result.reasons:
            yield Reason(subject, check, "failed", f"{prefix}{sentence}")
    if result.revision != revision:
        yield Reason(
            subject, check, "stale", f"{prefix}the data changed since it was checked: {mend}"
        )
    age = at - result.evaluated_at
    if age > max_age:
        hours = age.total_seconds() / 3600
        yield Reason(
            subject, check, "stale",
            f"{prefix}checked {hours:.0f} hours ago, more than "
            f"{max_age.total_seconds() / 3600:.0f}: {mend}",
        )  # fmt: skip


def _missing(subject: str, check: str, sentence: str) -> Reason:
    return Reason(subject, check, "missing", sentence)


def _rows(version: VersionEvidence, role: Role) -> int:
    space: SpaceEvidence | None = version.spaces.get(role)
    return space.rows if space else 0


def _spaces(evidence: Evidence, serve: list[VersionEvidence]) -> tuple[ReleasedSpace, ...]:
    """The small space with its index; the large one where every version served is in it."""
    spaces = []
    if evidence.index is not None:
        generation = evidence.index.generation
        spaces.append(
            ReleasedSpace(
                "bible",
                "small",
                evidence.tables["small"].space.space_id,
                generation.number if generation else None,
                evidence.index.probes,
            )
        )
    if "large" in evidence.tables and serve and all(_rows(v, "large") for v in serve):
        large = evidence.tables["large"].space.space_id
        spaces.append(ReleasedSpace("bible", "large", large, None, None))
    return tuple(spaces)


def _content(
    evidence: Evidence, serve: list[VersionEvidence], spaces: tuple[ReleasedSpace, ...]
) -> dict[str, object]:
    """Spaces, indexes, probes, and each version with its rows and the revision of its data."""
    return {
        "spaces": [asdict(space) | {"space": evidence.spaces[space.role]} for space in spaces],
        "versions": {
            version.code: {
                "rows": _rows(version, "small"),
                "revisions": {role: space.revision for role, space in version.spaces.items()},
            }
            for version in serve
        },
    }
