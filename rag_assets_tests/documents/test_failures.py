"""What an error means for a document, and for its run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.documents.publishing import (
    LONGEST_RETRY_S,
    DocumentOutcome,
    FailureVerdict,
    RunSummary,
    concerns_all,
    judge,
    readable,
    retry_after_s,
)
from rag_assets.errors import (
    AuditError,
    AuthenticationError,
    ConfigurationError,
    CorruptDocumentError,
    DatabaseUnavailableError,
    DocumentTooLargeError,
    EmptyDocumentError,
    EncryptedDocumentError,
    ExtractionInterruptedError,
    InboxUnavailableError,
    InputRejectedError,
    NoTextError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitedError,
    UnsupportedDocumentError,
)
from rag_assets.settings.model import Settings
from rag_assets.visible import visible

SETTINGS = Settings(rag_document_retry_s=30, rag_document_max_attempts=5)


@pytest.mark.parametrize(
    "kind",
    [
        CorruptDocumentError,
        DocumentTooLargeError,
        EmptyDocumentError,
        EncryptedDocumentError,
        NoTextError,
        UnsupportedDocumentError,
    ],
)
def test_permanent_errors_are_dead_letters_immediately(kind: type[CorruptDocumentError]) -> None:
    error = kind("a.pdf", "why, and what to do")
    assert not concerns_all(error)
    assert judge(error, 1, SETTINGS) == FailureVerdict(
        "dead", kind.__name__, "a.pdf: why, and what to do", rejected=True
    )


def test_a_refused_text_is_a_dead_letter_immediately() -> None:
    verdict = judge(InputRejectedError("a.pdf: no"), 1, SETTINGS)
    assert (verdict.state, verdict.rejected) == ("dead", True)


@pytest.mark.parametrize(
    "error",
    [ExtractionInterruptedError("x"), AuditError("x"), ValueError("x"), MemoryError(), OSError()],
    ids=lambda error: type(error).__name__,
)
def test_transient_errors_are_retried_with_growing_pauses(error: Exception) -> None:
    assert not concerns_all(error)
    verdicts = [judge(error, attempts, SETTINGS) for attempts in range(1, 6)]
    assert [verdict.state for verdict in verdicts] == ["waiting"] * 4 + ["dead"]
    assert [verdict.after_s for verdict in verdicts[:4]] == [30, 60, 120, 240]
    assert all(verdict.counted for verdict in verdicts)
    assert {verdict.error_class for verdict in verdicts} == {type(error).__name__}


def test_an_unavailable_file_costs_no_attempt() -> None:
    error = InboxUnavailableError("gone")
    assert not concerns_all(error)
    assert judge(error, 9, SETTINGS) == FailureVerdict(
        "waiting", "InboxUnavailableError", "gone", counted=False, after_s=60
    )


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("x"),
        ProviderUnavailableError("x"),
        QuotaExceededError("x"),
        AuthenticationError("x"),
        ConfigurationError("x"),
        DatabaseUnavailableError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_affect_all_documents_end_the_run(error: Exception) -> None:
    assert concerns_all(error)


@given(st.integers(1, 1000), st.floats(0, 1e6))
def test_the_wait_grows_up_to_an_hour(attempts: int, first_s: float) -> None:
    settings = Settings(rag_document_retry_s=first_s)
    wait = retry_after_s(attempts, settings)
    assert 0 <= wait <= LONGEST_RETRY_S
    assert wait <= retry_after_s(attempts + 1, settings)


@given(st.text(max_size=5000))
def test_an_error_becomes_one_storable_line(message: str) -> None:
    line = readable(ValueError(message))
    assert visible(line) == line
    assert line.startswith("ValueError")
    assert len(line) <= 2000


def test_a_summary_describes_the_run() -> None:
    summary = RunSummary()
    assert str(summary).startswith("no documents; 0 chunks")
    summary.add(DocumentOutcome("a", "ready", chunks=3, embedded=2, reused=1))
    summary.add(DocumentOutcome("b", "dead", "NoTextError", "why"))
    summary.lost = 1
    assert str(summary) == (
        "1 dead, 1 ready, 1 changed or withdrawn meanwhile; 3 chunks (2 embedded, 1 reused), "
        "0 requests, 0 tokens, $0.0000, 0.0 s"
    )
