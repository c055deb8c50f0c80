"""The gate's verdict on the documents, which are judged together like one version. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rag_assets.release.evidence import DocumentsEvidence, Evidence
from rag_assets.release.reasons import (
    DOCUMENTS_INDEX,
    Reason,
    index_reasons,
    missing_reason,
    reasons_now,
    result_reasons,
)
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.served import ReleasedSpace
from rag_assets.vectors.sql.tables import DOCUMENTS


@dataclass(frozen=True)
class DocumentsVerdict:
    """Whether to serve the documents.

    :param serve: true to serve them, provided that ``reasons`` is empty.
    :param left_out: why they are left out, if that does not block the release.
    """

    serve: bool
    reasons: tuple[Reason, ...] = ()
    left_out: str = ""


def judge_documents(
    evidence: Evidence, *, max_age: timedelta, leave_out_failing: bool
) -> DocumentsVerdict:
    """Decide whether the documents may be served.

    Documents that were never checked are left out, like a version that was never embedded.
    Documents that are being served must not disappear.

    :param max_age: the maximum age of a check's result.
    :param leave_out_failing: leave the documents out if there are reasons against them.
    """
    documents = evidence.documents
    if documents is None:
        return DocumentsVerdict(serve=False)
    served = evidence.active.space("documents", "small") if evidence.active else None
    judged = documents.index.decision is not None and documents.spaces["small"].results
    if served is None and not judged:
        return DocumentsVerdict(serve=False, left_out="not checked yet")
    candidate = documents.tables["small"].space.space_id
    if not documents.spaces["small"].rows and (served is None or served.space_id == candidate):
        return DocumentsVerdict(serve=False, left_out="there are none")
    reasons = _reasons(documents, evidence, max_age)
    if reasons and leave_out_failing:
        sentences = "; ".join(reason.sentence for reason in reasons)
        return DocumentsVerdict(serve=False, left_out=sentences)
    return DocumentsVerdict(serve=True, reasons=reasons)


def _reasons(
    documents: DocumentsEvidence, evidence: Evidence, max_age: timedelta
) -> tuple[Reason, ...]:
    if not documents.spaces["small"].rows:
        where = evidence.spaces.get("small", "the settings' space")
        sentence = f"they are served now and have no vectors in {where}"
        return (missing_reason(DOCUMENTS, "completeness", sentence),)
    reasons = list(
        index_reasons(
            documents.index, (), evidence.at, max_age, subject=DOCUMENTS_INDEX, corpus="documents"
        )
    )
    for role, space in documents.spaces.items():
        if role == "large" and not space.rows:
            continue
        reasons += reasons_now(DOCUMENTS, space, where=role)
        for check in QUALITY_CHECKS:
            # For any revision: each document is audited when it is published, and no check could
            # keep up with the changes.
            reasons += result_reasons(
                DOCUMENTS, check, space.results.get(check), None, evidence.at, max_age,
                where=role, known=space.faults.get(check),
            )  # fmt: skip
    return tuple(reasons)


def documents_spaces(documents: DocumentsEvidence) -> tuple[ReleasedSpace, ...]:
    """The small space with its index; also the large one if it holds every chunk."""
    generation = documents.index.generation
    small = ReleasedSpace(
        "documents",
        "small",
        documents.tables["small"].space.space_id,
        generation.number if generation else None,
        documents.index.probes,
        documents.index.codes,
    )
    large = documents.spaces.get("large")
    if large is None or large.rows != documents.spaces["small"].rows:
        return (small,)
    space_id = documents.tables["large"].space.space_id
    return small, ReleasedSpace("documents", "large", space_id, None, None)
