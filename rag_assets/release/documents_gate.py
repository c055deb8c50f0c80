"""The documents before the gate: judged together, as one version is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rag_assets.index.indexed_tables import ASSETS
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
    """Whether the documents are to be served.

    :param serve: they are, unless there are reasons against it.
    :param left_out: why they are not, where that is nothing against the release.
    """

    serve: bool
    reasons: tuple[Reason, ...] = ()
    left_out: str = ""


def judge_documents(
    evidence: Evidence, *, max_age: timedelta, leave_out_failing: bool
) -> DocumentsVerdict:
    """Decide whether the documents may be served.

    What nobody has judged yet waits for its turn, as a version that was never embedded does; what
    is served now must not go.

    :param max_age: how old a check's result may be.
    :param leave_out_failing: with reasons against them they are left out.
    """
    documents = evidence.documents
    if documents is None:
        return DocumentsVerdict(serve=False)
    served = evidence.active.space("documents", "small") if evidence.active else None
    judged = documents.index.decision is not None and documents.spaces["small"].results
    if served is None and not judged:
        return DocumentsVerdict(serve=False, left_out="not checked yet")
    here = documents.tables["small"].space.space_id
    if not documents.spaces["small"].rows and (served is None or served.space_id == here):
        return DocumentsVerdict(serve=False, left_out="there are none")
    reasons = _reasons(documents, evidence, max_age)
    if reasons and leave_out_failing:
        sentences = "; ".join(reason.sentence for reason in reasons)
        return DocumentsVerdict(serve=False, left_out=sentences)
    return DocumentsVerdict(serve=True, reasons=reasons)


def _reasons(
    documents: DocumentsEvidence, evidence: Evidence, max_age: timedelta
) -> tuple[Reason, ...]:
    mend = f"materialize {ASSETS['documents'].vectors}"
    if not documents.spaces["small"].rows:
        where = evidence.spaces.get("small", "the settings' space")
        sentence = f"they are served now and have no vectors in {where}: {mend}"
        return (missing_reason(DOCUMENTS, "completeness", sentence),)
    reasons = list(
        index_reasons(
            documents.index, (), evidence.at, max_age, subject=DOCUMENTS_INDEX, corpus="documents"
        )
    )
    for role, space in documents.spaces.items():
        if role == "large" and not space.rows:
            continue
        reasons += reasons_now(DOCUMENTS, space, mend=f"{mend} of these documents", where=role)
        for check in QUALITY_CHECKS:
            # Of whatever data: each document is audited as it is published, and no check could
            # keep up with them.
            reasons += result_reasons(
                DOCUMENTS, check, space.results.get(check), None, evidence.at, max_age,
                mend=mend, where=role, known=space.faults.get(check),
            )  # fmt: skip
    return tuple(reasons)


def documents_spaces(documents: DocumentsEvidence) -> tuple[ReleasedSpace, ...]:
    """The small space with its index; the large one where every chunk is in it."""
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
