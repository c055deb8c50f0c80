"""The gate's verdict on documents: like a version's, except that documents change constantly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from rag_assets.index.checks import CHUNK_INDEX_CHECKS
from rag_assets.release.evidence import (
    DocumentsEvidence,
    Drift,
    Evidence,
    IndexEvidence,
    SpaceEvidence,
)
from rag_assets.release.gate import Reason
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.served import Release, ReleasedSpace
from rag_assets.vectors.sql.spaces import Role
from rag_assets.vectors.sql.tables import VectorTable, documents_table
from rag_assets_tests.release.evidence import (
    PROBES,
    ROWS,
    TABLES,
    changed_index,
    index,
    judged,
    only_reason,
    passing,
    release_of,
    result,
    with_result,
)

INDEX = "documents' index"
DRIFT = Drift(rows=ROWS, changed=0, share=0.2, min_rows=10_000)
DOCUMENT_TABLES: dict[Role, VectorTable] = {
    role: documents_table(table.space) for role, table in TABLES.items()
}
SMALL = ReleasedSpace("documents", "small", 1, 7, PROBES)


def documents(
    *, exact: bool = False, large: int | None = None, drift: Drift = DRIFT
) -> DocumentsEvidence:
    """All documents, checked, with a decision on the index; the data have changed since."""
    checked = {check: result(check, subject="documents", revision=1) for check in QUALITY_CHECKS}
    spaces: dict[Role, SpaceEvidence] = {"small": SpaceEvidence(ROWS, 9, checked)}
    if large is not None:
        spaces["large"] = SpaceEvidence(large, 9, checked)
    known = index(4, exact=exact)
    results = {check: known.results[check] for check in CHUNK_INDEX_CHECKS}
    tables = {role: DOCUMENT_TABLES[role] for role in spaces}
    found = replace(known, revision=9, results=results, drift=drift)
    return DocumentsEvidence({"documents": spaces}, tables, found)


def with_documents(evidence: Evidence | None = None, **about: object) -> Evidence:
    """Passing evidence that includes documents."""
    return replace(evidence or passing(), documents=documents(**about))  # type: ignore[arg-type]


def of_documents_only(evidence: Evidence) -> Evidence:
    """No version, and no decision on the verses' index."""
    undecided = changed_index(evidence, decision=None, generation=None, results={})
    return replace(undecided, versions=())


def with_results(
    evidence: Evidence, results: Mapping[str, object], *, role: Role = "small"
) -> Evidence:
    """A copy with other results of the documents' checks."""
    found = evidence.documents
    assert found is not None
    spaces = found.corpora["documents"]
    changed = replace(spaces[role], results={**spaces[role].results, **results})  # type: ignore[arg-type]
    return with_spaces(evidence, {**spaces, role: changed})


def with_spaces(
    evidence: Evidence, spaces: Mapping[Role, SpaceEvidence], corpus: str = "documents"
) -> Evidence:
    """A copy with other vectors of one corpus, or with another corpus."""
    found = evidence.documents
    assert found is not None
    corpora = {**found.corpora, corpus: spaces}
    return replace(evidence, documents=replace(found, corpora=corpora))


def with_index(evidence: Evidence, **changes: object) -> Evidence:
    """A copy with changed evidence on the documents' index."""
    found = evidence.documents
    assert found is not None
    changed: IndexEvidence = replace(found.index, **changes)  # type: ignore[arg-type]
    return replace(evidence, documents=replace(found, index=changed))


def active(evidence: Evidence) -> Release:
    """An active release of exactly this evidence."""
    verdict = judged(evidence)
    assert verdict.passed
    return release_of(verdict)


def test_without_documents_the_verdict_does_not_mention_them() -> None:
    verdict = judged(passing())
    assert (verdict.documents, "documents" in verdict.left_out) == (False, False)
    assert {space.corpus for space in verdict.spaces} == {"bible"}


@pytest.mark.parametrize("exact", [True, False])
def test_documents_that_changed_since_their_checks_are_released(exact: bool) -> None:
    verdict = judged(with_documents(exact=exact))
    assert verdict.passed
    assert verdict.documents
    assert verdict.versions == ("EN_A", "EN_B")
    (space,) = (space for space in verdict.spaces if space.corpus == "documents")
    assert space == (replace(SMALL, generation=None, probes=None) if exact else SMALL)


def test_a_change_of_documents_needs_no_new_release() -> None:
    before = with_documents()
    now = replace(before, active=active(before))
    moved = with_index(now, revision=99, drift=replace(DRIFT, changed=15, rows=115))
    assert judged(moved).unchanged
    other = with_index(now, probes=Probes(5, 9, 64))
    assert not judged(other).unchanged


def test_the_first_documents_need_a_new_release_and_the_bible_keeps_its_content() -> None:
    bible = judged(passing())
    verdict = judged(with_documents(replace(passing(), active=release_of(bible))))
    assert verdict.passed
    assert not verdict.unchanged
    assert verdict.content["versions"] == bible.content["versions"]
    spaces = verdict.content["spaces"]
    assert isinstance(spaces, list)
    assert spaces[: len(bible.spaces)] == bible.content["spaces"]


def test_documents_that_were_never_checked_are_left_out() -> None:
    undecided = with_index(with_documents(), decision=None, generation=None, results={})
    unchecked = with_spaces(with_documents(), {"small": SpaceEvidence(ROWS, 9, {})})
    for evidence in (undecided, unchecked):
        verdict = judged(evidence)
        assert verdict.passed
        assert not verdict.documents
        assert verdict.left_out == {"documents": "not checked yet"}
    served = active(with_documents())
    reason = only_reason(judged(replace(undecided, active=served)))
    assert reason == Reason(INDEX, "decision", "missing", "there is no decision on an index yet")
    verdict = judged(replace(unchecked, active=served))
    assert {reason.sentence for reason in verdict.reasons} == {"small: it was never checked"}


@pytest.mark.parametrize("check", QUALITY_CHECKS)
def test_a_failed_check_refuses_the_release_or_leaves_the_documents_out(check: str) -> None:
    failed = result(check, subject="documents", revision=1, reasons=("bad",))
    evidence = with_results(with_documents(), {check: failed})
    assert only_reason(judged(evidence)) == Reason("documents", check, "failed", "small: bad", True)
    verdict = judged(evidence, leave_out_failing=True)
    assert verdict.passed
    assert not verdict.documents
    assert verdict.left_out == {"documents": "small: bad"}
    assert verdict.versions == ("EN_A", "EN_B")
    assert verdict.content == judged(passing()).content


@pytest.mark.parametrize("check", QUALITY_CHECKS)
def test_a_check_that_is_missing_or_old_refuses(check: str) -> None:
    evidence = with_documents()
    assert evidence.documents is not None
    few = {
        k: v
        for k, v in evidence.documents.corpora["documents"]["small"].results.items()
        if k != check
    }
    spaces: dict[Role, SpaceEvidence] = {"small": SpaceEvidence(ROWS, 9, few)}
    missing = with_spaces(evidence, spaces)
    assert only_reason(judged(missing)) == Reason(
        "documents", check, "missing", "small: it was never checked", True
    )
    old = result(check, subject="documents", revision=1, age=timedelta(days=7))
    assert only_reason(judged(with_results(evidence, {check: old}))).kind == "stale"


@pytest.mark.parametrize("check", CHUNK_INDEX_CHECKS)
def test_a_failed_or_missing_check_of_the_index_refuses(check: str) -> None:
    evidence = with_documents()
    assert evidence.documents is not None
    known = evidence.documents.index.results
    bad = replace(known[check], passed=False, reasons=("slow",))
    failing = with_index(evidence, results={**known, check: bad})
    assert only_reason(judged(failing)) == Reason(INDEX, check, "failed", "slow")
    assert judged(failing, leave_out_failing=True).left_out == {"documents": "slow"}
    missing = with_index(evidence, results={k: v for k, v in known.items() if k != check})
    assert only_reason(judged(missing)).kind == "missing"


@pytest.mark.parametrize(
    ("exact", "drift", "said"),
    [
        (False, {"changed": 20}, ""),
        (False, {"changed": 21}, "21 rows changed since the build on 100, more than the 20%"),
        (False, {"changed": 30, "share": 0.3}, ""),
        (False, {"rows": 10**9}, ""),
        (True, {"rows": 9_999}, ""),
        (True, {"rows": 10_000}, "10,000 rows are too many to be searched without an index"),
        (True, {"rows": 5, "min_rows": 5}, "5 rows are too many to be searched without an index"),
    ],
)
def test_a_decision_is_valid_until_the_policy_would_decide_differently(
    exact: bool, drift: dict[str, float], said: str
) -> None:
    verdict = judged(with_documents(exact=exact, drift=replace(DRIFT, **drift)))  # type: ignore[arg-type]
    assert verdict.passed is not bool(said)
    if said:
        reason = only_reason(verdict)
        assert (reason.subject, reason.check, reason.kind) == (INDEX, "decision", "stale")
        assert reason.sentence.startswith(said)


def test_an_index_that_is_missing_or_was_judged_with_other_probes_refuses() -> None:
    gone = with_index(with_documents(), generation=None)
    assert only_reason(judged(gone)).sentence == ("the index of generation 7 is gone or invalid")
    other = judged(with_index(with_documents(), probes=Probes(5, 9, 64)))
    assert {reason.check for reason in other.reasons} == set(CHUNK_INDEX_CHECKS)
    assert {reason.subject for reason in other.reasons} == {INDEX}


def test_large_vectors_are_released_if_every_chunk_has_one() -> None:
    complete = judged(with_documents(passing(large=True), large=ROWS))
    assert ReleasedSpace("documents", "large", 2, None, None) in complete.spaces
    for rows in (0, ROWS - 1):
        few = judged(with_documents(passing(large=True), large=rows))
        assert few.passed
        assert [s.role for s in few.spaces if s.corpus == "documents"] == ["small"]
    lost = replace(with_documents(passing(large=True)), active=release_of(complete))
    assert only_reason(judged(lost)).sentence.startswith(
        "the active release re-ranks documents by large vectors"
    )


def test_documents_are_released_without_a_bible() -> None:
    verdict = judged(of_documents_only(with_documents()))
    assert verdict.passed
    assert (verdict.versions, verdict.documents, verdict.spaces) == ((), True, (SMALL,))
    refused = with_results(
        of_documents_only(with_documents()),
        {"freshness": result("freshness", subject="documents", revision=1, reasons=("bad",))},
    )
    assert only_reason(judged(refused)).subject == "documents"
    left = judged(refused, leave_out_failing=True)
    assert not left.passed


def test_versions_that_are_not_embedded_do_not_delay_documents() -> None:
    waiting = replace(passing().versions[0], spaces={}, code="EN_NEW")
    verdict = judged(replace(of_documents_only(with_documents()), versions=(waiting,)))
    assert verdict.passed
    assert verdict.left_out == {"EN_NEW": "not embedded yet"}


def test_a_failing_bible_refuses_the_documents_too() -> None:
    failed = result("freshness", subject="EN_A", revision=3, reasons=("bad",))
    evidence = with_result(with_documents(), "EN_A", "freshness", failed)
    assert only_reason(judged(evidence)).subject == "EN_A"
    verdict = judged(evidence, leave_out_failing=True)
    assert (verdict.passed, verdict.documents, verdict.versions) == (True, True, ("EN_B",))


def test_removed_documents_are_left_out_and_a_new_model_must_include_existing_ones() -> None:
    evidence = with_documents()
    served = active(evidence)
    assert evidence.documents is not None
    empty: dict[Role, SpaceEvidence] = {
        "small": replace(evidence.documents.corpora["documents"]["small"], rows=0)
    }
    gone = with_spaces(replace(evidence, active=served), empty)
    verdict = judged(gone)
    assert verdict.passed
    assert verdict.left_out == {"documents": "there are none"}
    elsewhere = replace(SMALL, space_id=5)
    spaces = tuple(s if s.corpus == "bible" else elsewhere for s in served.spaces)
    moved = replace(gone, active=replace(served, spaces=spaces))
    reason = only_reason(judged(moved))
    assert (reason.subject, reason.kind) == ("documents", "missing")
    assert "have no vectors in offline/m halfvec(64)" in reason.sentence


def test_each_corpus_is_released_by_itself() -> None:
    """A second one joins once it was checked, or is left out; the first one stays as it is."""
    first = with_documents()
    served = active(first)
    assert "corpora" not in served.manifest["content"]
    assert served.corpora == ("documents",)
    unchecked = with_spaces(
        replace(first, active=served), {"small": SpaceEvidence(7, 2, {})}, "handbook"
    )
    verdict = judged(unchecked)
    assert (verdict.corpora, verdict.unchanged) == (("documents",), True)
    assert verdict.left_out == {"handbook": "not checked yet"}

    checked = {check: result(check, subject="handbook", revision=1) for check in QUALITY_CHECKS}
    both = with_spaces(unchecked, {"small": SpaceEvidence(7, 2, checked)}, "handbook")
    verdict = judged(both)
    assert (verdict.passed, verdict.unchanged) == (True, False)
    assert release_of(verdict).corpora == ("documents", "handbook")

    check = next(iter(QUALITY_CHECKS))
    bad = {**checked, check: result(check, subject="handbook", revision=1, reasons=("bad",))}
    failing = with_spaces(both, {"small": SpaceEvidence(7, 2, bad)}, "handbook")
    assert only_reason(judged(failing)) == Reason("handbook", check, "failed", "small: bad", True)
    verdict = judged(failing, leave_out_failing=True)
    assert (verdict.passed, verdict.corpora) == (True, ("documents",))
    assert verdict.left_out == {"handbook": "small: bad"}
