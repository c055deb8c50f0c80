"""What is against a release: of a check's result, of the evidence on an index. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rag_assets.index.checks import CHECKS_OF, uncoded
from rag_assets.index.indexed_tables import ASSETS
from rag_assets.index.policy import MIN_ROWS_WITHOUT_CODES
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
    """One thing against the release.

    :param subject: a version's code, ``documents``, ``index``, ``documents' index``, ``release``.
    """

    subject: str
    check: str
    kind: Kind
    sentence: str

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
    """The decision on an index and each of its checks.

    :param searched: versions that policy lets be served; of no account for documents.
    :param max_age: how old a check's result may be.
    """
    mend = f"materialize {ASSETS[corpus].index}"
    flows = index.drift is not None
    if index.decision is None:
        yield missing_reason(subject, "decision", f"there is no decision on an index yet: {mend}")
        return
    if drifted := _drifted(index):
        yield Reason(subject, "decision", "stale", f"{drifted}: {mend}")
    if not flows and index.decision.revision != index.revision:
        yield Reason(
            subject, "decision", "stale", f"vectors changed since it was decided on: {mend}"
        )
    if index.decision.generation is not None and index.generation is None:
        yield Reason(
            subject,
            "decision",
            "failed",
            f"the index of generation {index.decision.generation} is gone or invalid: {mend}",
        )
    if index.uncoded > 0:
        yield Reason(subject, "index_valid_and_used", "failed", uncoded(index.uncoded, mend))
    for check in CHECKS_OF[corpus]:
        result = index.results.get(check)
        seen = None if flows else index.revision
        yield from result_reasons(subject, check, result, seen, at, max_age, mend=mend, where="")
        if result is not None and index.probes is not None and _other_probes(result, index):
            yield Reason(
                subject, check, "stale",
                f"it judged {result.measured.get('probes')} probes, a search would read "
                f"{index.probes.plain}: {mend}",
            )  # fmt: skip
        if result is not None and _other_candidates(result, index):
            yield Reason(
                subject, check, "stale",
                f"it judged another use of the codes than a search would make: {mend}",
            )  # fmt: skip
        if result is None or flows:
            continue
        if result.measured.get("versions") != sorted(searched):
            yield Reason(
                subject,
                check,
                "stale",
                f"it judged other versions than policy lets be served now: {mend}",
            )


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
    mend: str,
    where: str,
    known: str | None = None,
) -> Iterator[Reason]:
    """What is against one check's last result.

    :param revision: of the data now; ``None`` where newer data does not matter.
    :param mend: what to do about it.
    :param where: the role of the space, where that is to be told.
    :param known: what the data themselves show: a result that says the same adds nothing.
    """
    prefix = f"{where}: " if where else ""
    if result is None:
        yield missing_reason(subject, check, f"{prefix}it was never checked: {mend}")
        return
    if not result.passed:
        for sentence in result.reasons:
            if sentence != known:
                yield Reason(subject, check, "failed", f"{prefix}{sentence}")
    if revision is not None and result.revision != revision:
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


def reasons_now(
    subject: str, space: SpaceEvidence, *, mend: str, where: str, kept: str = ""
) -> Iterator[Reason]:
    """What is against a scope's vectors as they are, whatever its checks have seen.

    :param mend: what to do about it.
    :param kept: what that does with unverified vectors other than replace them.
    """
    for check, sentence in space.faults.items():
        yield Reason(subject, check, "failed", f"{where}: {sentence}: {mend}")
    marked = space.unverified
    if marked.rows:
        examples = f" ({'; '.join(marked.examples)}{'; …' * (marked.rows > len(marked.examples))})"
        yield Reason(
            subject,
            "provenance",
            "failed",
            f"{where}: {_vectors(marked.rows)} not written by an embedding run"
            f"{examples if marked.examples else ''}: {mend}, which {kept}replaces them",
        )


def _vectors(count: int) -> str:
    return "1 vector was" if count == 1 else f"{count:,} vectors were"


def missing_reason(subject: str, check: str, sentence: str) -> Reason:
    """That there is no evidence."""
    return Reason(subject, check, "missing", sentence)


def _drifted(index: IndexEvidence) -> str:
    """Why the decision on an index no longer holds for what the table holds now; or nothing."""
    drift = index.drift
    if drift is None or index.decision is None:
        return ""
    if index.decision.generation is None:
        enough = min(drift.min_rows, MIN_ROWS_WITHOUT_CODES)
        if index.codes is not None:
            # A scan that was fast enough at more rows than that is so until a fifth more have come.
            enough = max(drift.min_rows, round(index.decision.rows * (1 + drift.share)))
        if drift.rows < enough:
            return ""
        return f"{drift.rows:,} rows are too many to be searched without an index"
    if index.generation is None:
        return ""  # gone, which is told by itself
    share = drift.changed / max(1, index.generation.rows_at_build)
    if share <= drift.share:
        return ""
    return (
        f"{drift.changed:,} rows changed since the build on {index.generation.rows_at_build:,}, "
        f"more than the {drift.share:.0%} of RAG_INDEX_REBUILD_SHARE"
    )
