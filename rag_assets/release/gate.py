"""The gate: evidence to a verdict with all its reasons. Pure; missing evidence is a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

from rag_assets.release.documents_gate import documents_spaces, judge_documents
from rag_assets.release.evidence import Evidence, SpaceEvidence, VersionEvidence
from rag_assets.release.reasons import (
    RELEASE,
    Reason,
    index_reasons,
    missing_reason,
    quality_reasons,
    reasons_now,
    result_reasons,
)
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.served import ReleasedSpace
from rag_assets.vectors.sql.spaces import Role
from rag_assets.vectors.sql.tables import DOCUMENTS


@dataclass(frozen=True)
class GateVerdict:
    """The gate's verdict; it passes if there are no reasons against the release.

    :param versions: the versions to serve.
    :param left_out: the others, and document corpora by name, each with the reason: policy, not
        embedded yet, or failing.
    :param content: what distinguishes this release from another; see :func:`_content`.
    :param unchanged: the active release already serves exactly this.
    :param corpora: the document corpora to serve.
    """

    reasons: tuple[Reason, ...]
    versions: tuple[str, ...]
    left_out: Mapping[str, str]
    spaces: tuple[ReleasedSpace, ...]
    content: Mapping[str, object]
    unchanged: bool
    corpora: tuple[str, ...] = ()

    @property
    def documents(self) -> bool:
        """Whether to serve documents."""
        return bool(self.corpora)

    @property
    def passed(self) -> bool:
        return not self.reasons


def judge_release(
    evidence: Evidence,
    *,
    max_age: timedelta,
    leave_out_failing: bool,
    after_rollback: bool = False,
    quality_floor: float | None = None,
) -> GateVerdict:
    """Decide whether the corpora in the spaces of the current settings may be served.

    :param max_age: the maximum age of a check's result.
    :param leave_out_failing: leave out a version, or the documents, if there are reasons against
        them; otherwise these reasons refuse the whole release.
    :param after_rollback: an operator confirms that the cause of the last rollback is fixed.
    :param quality_floor: minimum nDCG@10 of the golden queries; ``None`` for none.
    """
    documents = judge_documents(evidence, max_age=max_age, leave_out_failing=leave_out_failing)
    # If no verses are to be served, their index needs no decision.
    of_documents_only = documents.serve and not any(_wanted(v, evidence) for v in evidence.versions)
    reasons = [] if of_documents_only else _bible_reasons(evidence, max_age)
    reasons += documents.reasons
    judged = (
        evidence.documents.index if of_documents_only and evidence.documents else evidence.index
    )
    reasons += quality_reasons(judged, quality_floor, evidence.at, max_age)
    serve: list[VersionEvidence] = []
    left_out = dict(documents.left_out)
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
    if not (serve or documents.serve or reasons):
        reasons.append(
            missing_reason(RELEASE, "versions", "there is no version that may be served")
        )
    spaces = () if of_documents_only else _spaces(evidence, serve)
    if documents.serve and evidence.documents is not None:
        spaces += documents_spaces(evidence.documents, documents.serve)
    content = _content(evidence, serve, spaces, documents.serve)
    reasons += _lost_roles(evidence, spaces)
    unchanged = evidence.active is not None and evidence.active.manifest["content"] == content
    if evidence.rolled_back is not None and not (unchanged or after_rollback):
        reasons.append(_after_rollback(evidence.rolled_back))
    return GateVerdict(
        reasons=tuple(reasons),
        versions=tuple(version.code for version in serve),
        left_out=left_out,
        spaces=spaces,
        content=content,
        unchanged=unchanged,
        corpora=documents.serve,
    )


def _bible_reasons(evidence: Evidence, max_age: timedelta) -> list[Reason]:
    """Reasons that concern the space and its index, whichever versions are served."""
    if evidence.index is None:
        return [missing_reason(RELEASE, "vectors", "nothing is embedded with the settings' model")]
    searched = [v.code for v in evidence.versions if not v.withheld and _rows(v, "small")]
    return list(index_reasons(evidence.index, searched, evidence.at, max_age))


def _after_rollback(release_id: int) -> Reason:
    """Nothing is released automatically after a rollback, even together with other changes."""
    return Reason(
        RELEASE,
        "rolled_back",
        "failed",
        f"release {release_id} was rolled back, and no release has passed since: once the cause "
        "is fixed, confirm that (after_rollback in the launchpad); to bring it back as it was: "
        f"`rag-assets release activate {release_id}`",
    )


def _lost_roles(evidence: Evidence, spaces: Sequence[ReleasedSpace]) -> Iterator[Reason]:
    """Re-ranking must not be lost silently because one version lacks large vectors."""
    if evidence.active is None or not spaces:
        return
    kept = {(space.corpus, space.role) for space in spaces}
    lost = {(space.corpus, space.role) for space in evidence.active.spaces} - kept
    if ("documents", "large") in lost and ("documents", "small") in kept:
        reason = missing_reason(
            DOCUMENTS,
            "large_vectors",
            "the active release re-ranks documents by large vectors, and not all documents have "
            "them: set RAG_DOCUMENTS_LARGE=true first",
        )
        yield replace(reason, of_documents=True)
    if ("bible", "large") in lost and ("bible", "small") in kept:
        for version in evidence.versions:
            if not version.withheld and not _rows(version, "large"):
                yield missing_reason(
                    version.code,
                    "large_vectors",
                    "the active release re-ranks by large vectors, and this version has none",
                )


def _not_ready(version: VersionEvidence, evidence: Evidence) -> str:
    """A version that was never embedded is left out; one that is being served must not be."""
    served_now = evidence.active.versions if evidence.active else ()
    if _rows(version, "small") or version.code in served_now:
        return ""
    return "not embedded yet"


def _version_reasons(
    version: VersionEvidence, evidence: Evidence, max_age: timedelta
) -> Iterator[Reason]:
    """Reasons from each check in each space in which the version has vectors."""
    if not _rows(version, "small"):
        where = evidence.spaces.get("small", "the settings' space")
        sentence = f"it is served now and has no vectors in {where}"
        yield missing_reason(version.code, "completeness", sentence)
        return
    for role, space in version.spaces.items():
        if role == "large" and not space.rows:
            continue
        yield from reasons_now(version.code, space, where=role)
        for check in QUALITY_CHECKS:
            yield from result_reasons(
                version.code, check, space.results.get(check), space.revision or 0, evidence.at,
                max_age, where=role, known=space.faults.get(check),
            )  # fmt: skip


def _wanted(version: VersionEvidence, evidence: Evidence) -> bool:
    """Whether to serve a version: policy allows it, and it is embedded or being served."""
    return not version.withheld and not _not_ready(version, evidence)


def _rows(version: VersionEvidence, role: Role) -> int:
    space: SpaceEvidence | None = version.spaces.get(role)
    return space.rows if space else 0


def _spaces(evidence: Evidence, serve: list[VersionEvidence]) -> tuple[ReleasedSpace, ...]:
    """The small space with its index; also the large one if it holds every version served."""
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
                evidence.index.codes,
            )
        )
    if "large" in evidence.tables and serve and all(_rows(v, "large") for v in serve):
        large = evidence.tables["large"].space.space_id
        spaces.append(ReleasedSpace("bible", "large", large, None, None))
    return tuple(spaces)


def _content(
    evidence: Evidence,
    serve: list[VersionEvidence],
    spaces: tuple[ReleasedSpace, ...],
    corpora: tuple[str, ...],
) -> dict[str, object]:
    """Spaces, indexes, probes, and each version with its rows and the revision of its data.

    The documents' data are not part of it: documents come and go within a release.
    """
    return {
        "spaces": [asdict(space) | {"space": evidence.spaces[space.role]} for space in spaces],
        "versions": {
            version.code: {
                "rows": _rows(version, "small"),
                "revisions": {role: space.revision for role, space in version.spaces.items()},
            }
            for version in serve
        },
        # Left out where it says nothing, so that earlier releases serve the same as new ones.
        **({} if corpora in ((), (DOCUMENTS,)) else {"corpora": list(corpora)}),
    }
