"""Reasons against a release, from check results and the evidence on an index. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rag_assets.index.checks import CHECKS_OF, uncoded
from rag_assets.index.policy import MIN_ROWS_WITHOUT_CODES
from rag_assets.index.quality import QUALITY_CHECK, WAYS
from rag_assets.release.evidence import IndexEvidence, SpaceEvidence
from rag_assets.vectors.sql.check_results import CheckResult
from rag_assets.vectors.sql.code_sets import recorded_use
from rag_assets.vectors.sql.tables import Corpus

Kind = Literal["missing", "stale", "failed"]

INDEX = "index"
DOCUMENTS_INDEX = "documents' index"
RELEASE = "release"


@dataclass(frozen=True)
class Reason:
    """One reason against the release.

    :param subject: a version's code, a document corpus, ``index``, ``documents' index``,
        ``release``.
    :param of_documents: whether the subject is a document corpus.
    """

    subject: str
    check: str
    kind: Kind
    sentence: str
    of_documents: bool = False

    def __str__(self) -> str:
        return f"{self.subject}: {self.check}: {self.sentence}"


def index_reasons(
    index: IndexEvidence,
    searched: Sequence[str],
    at: datetime,
    max_age: timedelta,
    *,
    subject: str = INDEX,
    corpus: Corpus = "bible",
) -> Iterator[Reason]:
    """Reasons from the decision on an index and from each of its checks.

    :param searched: versions that policy allows to be served; ignored for documents.
    :param max_age: the maximum age of a check's result.
    """
    changes_constantly = index.drift is not None
    if index.decision is None:
        yield missing_reason(subject, "decision", "there is no decision on an index yet")
        return
    if drifted := _drifted(index):
        yield Reason(subject, "decision", "stale", drifted)
    if not changes_constantly and index.decision.revision != index.revision:
        yield Reason(subject, "decision", "stale", "vectors changed since it was decided on")
    if index.decision.generation is not None and index.generation is None:
        yield Reason(
            subject,
            "decision",
            "failed",
            f"the index of generation {index.decision.generation} is gone or invalid",
        )
    if index.uncoded > 0:
        yield Reason(subject, "index_valid_and_used", "failed", uncoded(index.uncoded))
    for check in CHECKS_OF[corpus]:
        result = index.results.get(check)
        seen = None if changes_constantly else index.revision
        yield from result_reasons(subject, check, result, seen, at, max_age, where="")
        if result is not None and index.probes is not None and _other_probes(result, index):
            yield Reason(
                subject, check, "stale",
                f"it judged {result.measured.get('probes')} probes, a search would read "
                f"{index.probes.plain}",
            )  # fmt: skip
        if result is not None and _other_candidates(result, index):
            yield Reason(
                subject, check, "stale",
                "it judged another use of the codes than a search would make",
            )  # fmt: skip
        if result is None or changes_constantly:
            continue
        if result.measured.get("versions") != sorted(searched):
            yield Reason(
                subject,
                check,
                "stale",
                "it judged other versions than policy allows to be served now",
            )


def quality_reasons(
    index: IndexEvidence | None, floor: float | None, at: datetime, max_age: timedelta
) -> Iterator[Reason]:
    """Reasons from how well the golden queries are answered, if there is a floor."""
    if floor is None or index is None:
        return
    result = index.results.get(QUALITY_CHECK)
    seen = None if index.drift is not None else index.revision
    yield from result_reasons(RELEASE, QUALITY_CHECK, result, seen, at, max_age, where="")
    for way in WAYS if result is not None else ():
        value = result.measured.get(f"{way}_ndcg_at_10") if result is not None else None
        if not isinstance(value, int | float):
            sentence = f"no golden query was asked by {way}: name some in RAG_GOLDEN_QUERIES"
            yield Reason(RELEASE, QUALITY_CHECK, "failed", sentence)
        elif value < floor:
            yield Reason(
                RELEASE, QUALITY_CHECK, "failed",
                f"nDCG@10 of the golden queries by {way} is {value:.3f}, under {floor} "
                "(RAG_QUALITY_FLOOR): `rag-assets eval FILE` names what is missed, each with the "
                "`rag-assets explain` that shows why",
            )  # fmt: skip


def _other_candidates(result: CheckResult, index: IndexEvidence) -> bool:
    return recorded_use(result.measured) != index.codes


def _other_probes(result: CheckResult, index: IndexEvidence) -> bool:
    if index.probes is None:
        return False
    judged = result.measured.get("probes"), result.measured.get("filtered_probes")
    return judged != (index.probes.plain, index.probes.filtered)


def result_reasons(
    subject: str,
    check: str,
    result: CheckResult | None,
    revision: int | None,
    at: datetime,
    max_age: timedelta,
    *,
    where: str,
    known: str | None = None,
) -> Iterator[Reason]:
    """Reasons from one check's last result.

    :param revision: current revision of the data; ``None`` if newer data does not matter.
    :param where: the role of the space, to start the sentence with; empty for none.
    :param known: the fault that the data show now: a result with the same sentence is skipped.
    """
    prefix = f"{where}: " if where else ""
    if result is None:
        yield missing_reason(subject, check, f"{prefix}it was never checked")
        return
    if not result.passed:
        for sentence in result.reasons:
            if sentence != known:
                yield Reason(subject, check, "failed", f"{prefix}{sentence}")
    if revision is not None and result.revision != revision:
        yield Reason(subject, check, "stale", f"{prefix}the data changed since it was checked")
    age = at - result.evaluated_at
    if age > max_age:
        hours = age.total_seconds() / 3600
        yield Reason(
            subject, check, "stale",
            f"{prefix}checked {hours:.0f} hours ago, more than "
            f"{max_age.total_seconds() / 3600:.0f}",
        )  # fmt: skip


def reasons_now(subject: str, space: SpaceEvidence, *, where: str) -> Iterator[Reason]:
    """Reasons from the current state of a scope's vectors, whatever its checks have seen."""
    for check, sentence in space.faults.items():
        yield Reason(subject, check, "failed", f"{where}: {sentence}")
    marked = space.unverified
    if marked.rows:
        examples = f" ({'; '.join(marked.examples)}{'; …' * (marked.rows > len(marked.examples))})"
        yield Reason(
            subject,
            "provenance",
            "failed",
            f"{where}: {_vectors(marked.rows)} not written by an embedding run"
            f"{examples if marked.examples else ''}",
        )


def _vectors(count: int) -> str:
    return "1 vector was" if count == 1 else f"{count:,} vectors were"


def missing_reason(subject: str, check: str, sentence: str) -> Reason:
    """A reason for missing evidence."""
    return Reason(subject, check, "missing", sentence)


def _drifted(index: IndexEvidence) -> str:
    """Why the decision on an index no longer suits the table; empty if it still does."""
    drift = index.drift
    if drift is None or index.decision is None:
        return ""
    if index.decision.generation is None:
        enough = min(drift.min_rows, MIN_ROWS_WITHOUT_CODES)
        if index.codes is not None:
            # If a scan was fast enough with more rows, it still is until the table has grown by
            # the share: a fifth by default.
            enough = max(drift.min_rows, round(index.decision.rows * (1 + drift.share)))
        if drift.rows < enough:
            return ""
        return f"{drift.rows:,} rows are too many to be searched without an index"
    if index.generation is None:
        return ""  # the index is gone, which is reported separately
    share = drift.changed / max(1, index.generation.rows_at_build)
    if share <= drift.share:
        return ""
    return (
        f"{drift.changed:,} rows changed since the build on {index.generation.rows_at_build:,}, "
        f"more than the {drift.share:.0%} of RAG_INDEX_REBUILD_SHARE"
    )
