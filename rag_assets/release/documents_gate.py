"""The gate's verdict on the documents: each corpus is judged like one version. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from rag_assets.release.evidence import DocumentsEvidence, Evidence, SpaceEvidence
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
from rag_assets.vectors.sql.spaces import Role


@dataclass(frozen=True)
class DocumentsVerdict:
    """Which document corpora to serve.

    :param serve: these, provided that ``reasons`` is empty.
    :param left_out: why others are left out, if that does not block the release.
    """

    serve: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def judge_documents(
    evidence: Evidence, *, max_age: timedelta, leave_out_failing: bool
) -> DocumentsVerdict:
    """Decide which document corpora may be served.

    A corpus that was never checked is left out, like a version that was never embedded. One that is
    being served must not disappear. All of them are searched by one index.

    :param max_age: the maximum age of a check's result.
    :param leave_out_failing: leave out a corpus if there are reasons against it.
    """
    documents = evidence.documents
    if documents is None:
        return DocumentsVerdict()
    serve: list[str] = []
    reasons: list[Reason] = []
    left_out: dict[str, str] = {}
    of_index = tuple(
        index_reasons(
            documents.index, (), evidence.at, max_age, subject=DOCUMENTS_INDEX, corpus="documents"
        )
    )
    for corpus, spaces in documents.corpora.items():
        if absent := _absent(corpus, spaces, documents, evidence):
            left_out[corpus] = absent
            continue
        against = [
            replace(reason, of_documents=True)
            for reason in _reasons(corpus, spaces, evidence, max_age)
        ]
        if not leave_out_failing:
            serve.append(corpus)
            reasons += against
        elif against or (of_index and spaces["small"].rows):
            all_of_it = (*of_index, *against) if spaces["small"].rows else against
            left_out[corpus] = "; ".join(reason.sentence for reason in all_of_it)
        else:
            serve.append(corpus)
    if any(documents.corpora[corpus]["small"].rows for corpus in serve):
        reasons = [*of_index, *reasons]
    return DocumentsVerdict(tuple(serve), tuple(reasons), left_out)


def _absent(
    corpus: str,
    spaces: Mapping[Role, SpaceEvidence],
    documents: DocumentsEvidence,
    evidence: Evidence,
) -> str:
    """Why a corpus is left out, if that needs no attention."""
    served = evidence.active.space("documents", "small") if evidence.active else None
    is_served = evidence.active is not None and corpus in evidence.active.corpora
    if not is_served and not (documents.index.decision is not None and spaces["small"].results):
        return "not checked yet"
    candidate = documents.tables["small"].space.space_id
    if not spaces["small"].rows and (
        not is_served or served is None or served.space_id == candidate
    ):
        return "there are none"
    return ""


def _reasons(
    corpus: str, spaces: Mapping[Role, SpaceEvidence], evidence: Evidence, max_age: timedelta
) -> Iterator[Reason]:
    if not spaces["small"].rows:
        where = evidence.spaces.get("small", "the settings' space")
        sentence = f"they are served now and have no vectors in {where}"
        yield missing_reason(corpus, "completeness", sentence)
        return
    for role, space in spaces.items():
        if role == "large" and not space.rows:
            continue
        yield from reasons_now(corpus, space, where=role)
        for check in QUALITY_CHECKS:
            # For any revision: each document is audited when it is published, and no check could
            # keep up with the changes.
            yield from result_reasons(
                corpus, check, space.results.get(check), None, evidence.at, max_age,
                where=role, known=space.faults.get(check),
            )  # fmt: skip


def documents_spaces(
    documents: DocumentsEvidence, serve: tuple[str, ...]
) -> tuple[ReleasedSpace, ...]:
    """The small space with its index; also the large one if it holds every chunk served."""
    generation = documents.index.generation
    small = ReleasedSpace(
        "documents",
        "small",
        documents.tables["small"].space.space_id,
        generation.number if generation else None,
        documents.index.probes,
        documents.index.codes,
    )
    served = [documents.corpora[corpus] for corpus in serve]
    if not all("large" in one and one["large"].rows == one["small"].rows for one in served):
        return (small,)
    space_id = documents.tables["large"].space.space_id
    return small, ReleasedSpace("documents", "large", space_id, None, None)
