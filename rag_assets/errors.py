"""Every error that this package raises on purpose, classed once: permanent or transient.

Only exceptions belong here; deciding what to do about one belongs to the caller.

::

    RagAssetsError
    ├── PermanentError              trying again changes nothing: somebody must act
    │   ├── ConfigurationError      a setting, option or name is missing or wrong
    │   ├── CorpusError             a source file cannot be read (path, line, reason)
    │   ├── DocumentError           a document cannot be made searchable as it is (path, reason)
    │   │   ├── EmptyDocumentError          nothing in it, or blanks only
    │   │   ├── NoTextError                 it opens, but holds no text: pages that are pictures
    │   │   ├── EncryptedDocumentError      it opens with a password only
    │   │   ├── CorruptDocumentError        cut off or damaged
    │   │   ├── UnsupportedDocumentError    of a format that is not read
    │   │   └── DocumentTooLargeError       it reached a limit of size, time, memory or chunks
    │   ├── PolicyError             a version's licence or declaration forbids it
    │   ├── DatabaseUnusableError   the server is too old, lacks pgvector or refuses us
    │   ├── MigrationError          an applied migration was edited or is unknown
    │   ├── AuditError              what was about to be published is not right
    │   ├── AuthenticationError     the provider refuses the key
    │   ├── QuotaExceededError      every key is out of quota: pay, or add a key
    │   ├── InputRejectedError      the provider refuses this very input
    │   ├── ProviderAnswerError     the provider answered something that must not be stored
    │   ├── BudgetExceededError     the plan costs more than the run may
    │   ├── IndexBuildError         an index cannot be built so: memory, disk, rows
    │   ├── GateRefusedError        the evidence does not let a release through
    │   ├── NotReleasedError        nothing may be served yet
    │   └── RequestError            what was asked of retrieval cannot be answered so
    └── TransientError              the same call may pass later
        ├── DatabaseUnavailableError
        ├── BrokerUnavailableError      the broker of runs on several machines is away
        ├── SearchTimeoutError          a search took longer than it may
        ├── ProviderUnavailableError    time-outs, 5xx, cut connections
        ├── RateLimitedError            429: wait, then go on (``retry_after_s``)
        ├── ExtractionInterruptedError  the process that read a document or version ended
        ├── WorkerLostError             the run that worked on a document ended
        ├── InboxUnavailableError       the inbox cannot be listed or read
        └── SlackUnavailableError       Slack did not take a message
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rag_assets.secrecy import masked
from rag_assets.visible import visible


class RagAssetsError(Exception):
    """Base of all. The message says what happened, where, and what to do.

    It may repeat words of another system, so secrets are masked here, for all who show it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(masked(message))


class PermanentError(RagAssetsError):
    """Trying again changes nothing."""


class TransientError(RagAssetsError):
    """The same call may pass later."""


class ConfigurationError(PermanentError):
    """A setting, an option or a name is missing or wrong."""


class CorpusError(PermanentError):
    """A source file cannot be read.

    :param path: the file (or folder) at fault.
    :param reason: what is wrong with it, and what to do.
    :param line: 1-based line, where it is known.
    """

    def __init__(self, path: Path, reason: str, *, line: int | None = None) -> None:
        self.path = path
        self.reason = reason
        self.line = line
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {reason}")


class DocumentError(PermanentError):
    """A document cannot be made searchable as it is.

    :param path: of the document, below the inbox.
    :param reason: what is wrong with it, and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class EmptyDocumentError(DocumentError):
    """Nothing is in it, or blanks only."""


class NoTextError(DocumentError):
    """It opens, but holds no text: its pages are pictures."""


class EncryptedDocumentError(DocumentError):
    """It opens with a password only."""


class CorruptDocumentError(DocumentError):
    """It is cut off or damaged."""


class UnsupportedDocumentError(DocumentError):
    """It is of a format that is not read."""


class DocumentTooLargeError(DocumentError):
    """It reached a limit: size, time, memory or number of chunks. The message names the setting."""


class PolicyError(PermanentError):
    """A version's declaration does not allow what was asked."""


class DatabaseUnusableError(PermanentError):
    """The server answers but cannot be used: too old, no pgvector, wrong password."""


class MigrationError(PermanentError):
    """The migrations on disk and those applied do not agree."""


class AuditError(PermanentError):
    """The audit before publishing found something wrong; nothing was published."""


class AuthenticationError(PermanentError):
    """The provider refuses the API key."""


class QuotaExceededError(PermanentError):
    """No key is left that still has quota."""


class InputRejectedError(PermanentError):
    """The provider refuses this very input (too long, not allowed)."""


class ProviderAnswerError(PermanentError):
    """The provider's answer must not be stored: wrong model, dimension, count or value."""


class BudgetExceededError(PermanentError):
    """The plan costs more than ``RAG_MAX_RUN_COST_USD``."""


class IndexBuildError(PermanentError):
    """An index cannot be built so; whatever served before still serves."""


class GateRefusedError(PermanentError):
    """The gate does not let a release through.

    :param reasons: all of them, a sentence each.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("the gate refuses the release: " + "; ".join(self.reasons))


class NotReleasedError(PermanentError):
    """Nothing may be served yet."""


class RequestError(PermanentError):
    """What was asked of retrieval cannot be answered so.

    :param kind: what is wrong, in two or three words with hyphens between them.
    :param field: the part of the request at fault.
    :param choices: the nearest that could be asked instead.
    """

    def __init__(self, kind: str, field: str, message: str, choices: Sequence[str] = ()) -> None:
        self.kind = kind
        self.field = field
        self.choices = tuple(choices)
        super().__init__(message)


class DatabaseUnavailableError(TransientError):
    """The database cannot be reached now."""


class BrokerUnavailableError(TransientError):
    """The broker, by which runs go to several machines, cannot be reached now."""


class SearchTimeoutError(TransientError):
    """A search took longer than it may and was given up."""


class ProviderUnavailableError(TransientError):
    """The provider cannot be reached or fails now.

    :param timed_out: it took longer than RAG_EMBEDDING_TIMEOUT_S.
    :param status: with which it failed; ``None`` where no answer came.
    """

    def __init__(self, message: str, *, timed_out: bool = False, status: int | None = None) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.status = status


class RateLimitedError(TransientError):
    """The provider limits the rate.

    :param retry_after_s: seconds until it may be tried again, or ``None`` when not told.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ExtractionInterruptedError(TransientError):
    """The process that read a document or a version ended early, without reaching a limit."""


class WorkerLostError(TransientError):
    """The run that worked on a document ended, or stopped extending its lease."""


class InboxUnavailableError(TransientError):
    """The inbox cannot be listed or read now, or is suddenly empty."""


class SlackUnavailableError(TransientError):
    """Slack did not take a message. It never names the address, which is a secret."""


def reason_of(error: BaseException) -> str:
    """An error in one line for people: the sentence of ours; class and words of any other.

    Blanks and the ends of lines become one blank; what else would act on a terminal is an escape.
    """
    if isinstance(error, RagAssetsError):
        text = str(error)
    else:
        text = masked(f"{type(error).__name__}: {error}").removesuffix(": ")
    return visible(" ".join(text.split()))
