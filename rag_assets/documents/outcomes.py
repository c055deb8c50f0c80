"""What became of a document, of a run over many; and what an error means for one. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rag_assets.errors import (
    AuditError,
    DocumentError,
    ExtractionInterruptedError,
    InboxUnavailableError,
    InputRejectedError,
    RagAssetsError,
    reason_of,
)
from rag_assets.settings.model import Settings

OutcomeState = Literal["ready", "unchanged", "dead", "waiting", "withdrawn"]
LONGEST_RETRY_S = 3600.0
_LONGEST_MESSAGE = 2000  # characters
_OF_ONE = (DocumentError, ExtractionInterruptedError, InboxUnavailableError, AuditError)
"""Errors of reading and storing that end the work on one document only."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work on one document ended.

    :param state: ``unchanged``: everything was there already. ``waiting``: it goes on later.
    :param error: what went wrong and what to do, where something did.
    :param tokens: of all its chunks, counted; ``cost_usd`` is what was bought for it.
    :param embedded: chunks with a vector bought now; ``reused`` with one that was there. Both count
        the small space.
    :param seconds: wall time by stage: ``fetch``, ``extract``, ``chunk``, ``embed``, ``store``.
    """

    key: str
    state: OutcomeState
    error_class: str | None = None
    error: str | None = None
    pages: int | None = None
    chunks: int = 0
    tokens: int = 0
    embedded: int = 0
    reused: int = 0
    cost_usd: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    language: str | None = None
    title: str | None = None


@dataclass
class Summary:
    """A run over many documents, counted while it goes on.

    :param states: documents by outcome.
    :param lost: documents that were changed, withdrawn or given to another run meanwhile.
    :param tokens: as billed; ``cost_usd`` is their price.
    """

    states: Counter[OutcomeState] = field(default_factory=Counter)
    lost: int = 0
    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    requests: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.states[outcome.state] += 1
        self.chunks += outcome.chunks
        self.embedded += outcome.embedded
        self.reused += outcome.reused

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        lost = f", {self.lost} changed or withdrawn meanwhile" if self.lost else ""
        return (
            f"{states or 'no documents'}{lost}; {self.chunks} chunks ({self.embedded} embedded, "
            f"{self.reused} reused), {self.requests} requests, {self.tokens} tokens, "
            f"${self.cost_usd:.4f}, {self.seconds:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error means for its document.

    :param counted: the attempt was one of the document's.
    :param after_s: seconds before the next.
    """

    state: Literal["dead", "waiting"]
    error_class: str
    error: str
    counted: bool = True
    after_s: float = 0.0


def concerns_all(error: Exception) -> bool:
    """Whether an error of reading or storing a document would meet the others, too.

    One that nobody foresaw ends only its own: it is perhaps the document's fault.
    """
    return isinstance(error, RagAssetsError) and not isinstance(error, _OF_ONE)


def judge(error: Exception, attempts: int, settings: Settings) -> Verdict:
    """Dead at once for what will not pass; otherwise later, until the attempts are used up.

    :param attempts: this one included.
    """
    name, message = class_of(error), readable(error)
    if isinstance(error, DocumentError | InputRejectedError):
        return Verdict("dead", name, message)
    if isinstance(error, InboxUnavailableError):
        # The storage's fault, or of a file that the next look at the inbox will miss.
        return Verdict("waiting", name, message, False, 2 * settings.rag_document_retry_s)
    if attempts >= settings.rag_document_max_attempts:
        return Verdict("dead", name, f"{message} (attempt {attempts}, the last)")
    return Verdict("waiting", name, message, True, retry_after_s(attempts, settings))


def retry_after_s(attempts: int, settings: Settings) -> float:
    """Seconds before the attempt after ``attempts``: doubled each time, up to an hour."""
    return float(min(LONGEST_RETRY_S, settings.rag_document_retry_s * 2.0 ** (attempts - 1)))


def class_of(error: BaseException) -> str:
    """The name of its class, or of the nearest one that is no module's own affair."""
    names = (kind.__name__ for kind in type(error).__mro__)
    return next(name for name in names if not name.startswith("_"))


def readable(error: BaseException) -> str:
    """An error in one paragraph that PostgreSQL can keep."""
    return reason_of(error)[:_LONGEST_MESSAGE]
