"""All errors that this package raises deliberately, classified as permanent or transient.

Only exceptions belong here; deciding what to do about one is up to the caller.

::

    RagAssetsError
    ├── PermanentError              retrying changes nothing: an operator must act
    │   ├── ConfigurationError      a setting, option or name is missing or wrong
    │   ├── CorpusError             a source file cannot be read (path, line, reason)
    │   ├── DocumentError           a document cannot be made searchable as it is (path, reason)
    │   │   ├── EmptyDocumentError          it is empty, or only white space
    │   │   ├── NoTextError                 it opens but contains no text: its pages are images
    │   │   ├── EncryptedDocumentError      it requires a password
    │   │   ├── CorruptDocumentError        truncated or damaged
    │   │   ├── UnsupportedDocumentError    an unsupported format
    │   │   └── DocumentTooLargeError       it exceeds a limit of size, time, memory or chunks
    │   ├── PolicyError             a version's licence or declaration forbids it
    │   ├── DatabaseUnusableError   the server is too old, lacks pgvector or refuses us
    │   ├── MigrationError          an applied migration was edited or is unknown
    │   ├── AuditError              the data to be published are wrong
    │   ├── AuthenticationError     the provider rejects the key
    │   ├── QuotaExceededError      every key is out of quota: pay, or add a key
    │   ├── InputRejectedError      the provider rejects this input
    │   ├── ProviderAnswerError     the provider's answer must not be stored
    │   ├── BudgetExceededError     the plan exceeds the run's budget
    │   ├── IndexBuildError         an index cannot be built: memory, disk or rows
    │   ├── GateRefusedError        the evidence does not allow a release
    │   ├── NotReleasedError        nothing is released yet
    │   └── RequestError            a retrieval request that cannot be answered
    └── TransientError              the same call may succeed later
        ├── DatabaseUnavailableError
        │   └── DatabaseBusyError       every connection of the pool is in use
        ├── BrokerUnavailableError      the broker for runs on several machines is unreachable
        ├── SearchTimeoutError          a search exceeded its time limit
        ├── ProviderUnavailableError    time-outs, 5xx, cut connections
        ├── RateLimitedError            429: wait, then continue (``retry_after_s``)
        ├── ExtractionInterruptedError  the process that was reading a document or version ended
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
    """Base class. The message says what happened, where, and what to do.

    It may quote another system, so secrets are masked here, wherever it is shown.
    """

    def __init__(self, message: str) -> None:
        super().__init__(masked(message))


class PermanentError(RagAssetsError):
    """Retrying changes nothing."""


class TransientError(RagAssetsError):
    """The same call may succeed later."""


class ConfigurationError(PermanentError):
    """A setting, an option or a name is missing or wrong."""


class CorpusError(PermanentError):
    """A source file cannot be read.

    :param path: the file (or folder) at fault.
    :param reason: what is wrong with it, and what to do.
    :param line: 1-based line, if known.
    """

    def __init__(self, path: Path, reason: str, *, line: int | None = None) -> None:
        self.path = path
        self.reason = reason
        self.line = line
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {reason}")


class DocumentError(PermanentError):
    """A document cannot be made searchable as it is.

    :param path: path of the document below the inbox.
    :param reason: what is wrong with it, and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class EmptyDocumentError(DocumentError):
    """The document is empty, or only white space."""


class NoTextError(DocumentError):
    """The document opens but contains no text: its pages are images."""


class EncryptedDocumentError(DocumentError):
    """The document requires a password."""


class CorruptDocumentError(DocumentError):
    """The document is truncated or damaged."""


class UnsupportedDocumentError(DocumentError):
    """The document has an unsupported format."""


class DocumentTooLargeError(DocumentError):
    """The document exceeds a limit of size, time, memory or chunks. The message names it."""


class PolicyError(PermanentError):
    """A version's declaration does not allow the operation."""


class DatabaseUnusableError(PermanentError):
    """The server answers but cannot be used: too old, no pgvector, wrong password."""


class MigrationError(PermanentError):
    """The migrations on disk and those applied do not agree."""


class AuditError(PermanentError):
    """The audit before publishing found something wrong; nothing was published."""


class AuthenticationError(PermanentError):
    """The provider rejects the API key."""


class QuotaExceededError(PermanentError):
    """Every key is out of quota."""


class InputRejectedError(PermanentError):
    """The provider rejects this input (too long, not allowed)."""


class ProviderAnswerError(PermanentError):
    """The provider's answer must not be stored: wrong model, dimension, count or value.

    :ivar tokens: billed for it all the same.
    """

    tokens = 0


class BudgetExceededError(PermanentError):
    """The plan costs more than ``RAG_MAX_RUN_COST_USD``."""


class IndexBuildError(PermanentError):
    """An index cannot be built as requested; what was served before is still served."""


class GateRefusedError(PermanentError):
    """The gate refuses a release.

    :param reasons: all reasons, one sentence each.
    :param fixes: the reasons grouped by their fix, each with its command; none where they say it.
    """

    def __init__(self, reasons: Sequence[str], fixes: Sequence[str] = ()) -> None:
        self.reasons = tuple(reasons)
        self.fixes = tuple(fixes)
        super().__init__("the gate refuses the release: " + "; ".join(self.fixes or self.reasons))


class NotReleasedError(PermanentError):
    """Nothing is released yet."""


class RequestError(PermanentError):
    """A retrieval request cannot be answered.

    :param kind: what is wrong, in two or three hyphenated words.
    :param field: the faulty field of the request.
    :param choices: the nearest valid values.
    """

    def __init__(self, kind: str, field: str, message: str, choices: Sequence[str] = ()) -> None:
        self.kind = kind
        self.field = field
        self.choices = tuple(choices)
        super().__init__(message)


class DatabaseUnavailableError(TransientError):
    """The database cannot be reached now."""


class DatabaseBusyError(DatabaseUnavailableError):
    """The database answers, but every connection of this process's pool is in use."""


class BrokerUnavailableError(TransientError):
    """The broker that distributes runs to several machines cannot be reached now."""


class DagsterUnreachableError(TransientError):
    """Dagster's webserver cannot be reached now, or refuses what it is asked."""


class SearchTimeoutError(TransientError):
    """A search exceeded its time limit and was cancelled."""


class ProviderUnavailableError(TransientError):
    """The provider cannot be reached, or is failing.

    :param timed_out: it did not answer within RAG_EMBEDDING_TIMEOUT_S.
    :param status: with which it failed; ``None`` where no answer came.
    """

    def __init__(self, message: str, *, timed_out: bool = False, status: int | None = None) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.status = status


class RateLimitedError(TransientError):
    """The provider limits the rate.

    :param retry_after_s: seconds until a retry is allowed; ``None`` if the provider did not say.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ExtractionInterruptedError(TransientError):
    """The process that was reading a document or version ended before it reached a limit."""


class WorkerLostError(TransientError):
    """The run that worked on a document ended, or stopped extending its lease."""


class InboxUnavailableError(TransientError):
    """The inbox cannot be listed or read now, or is suddenly empty."""


class SlackUnavailableError(TransientError):
    """Slack did not take a message. The error never contains the address, which is a secret."""


def reason_of(error: BaseException) -> str:
    """An error in one line: the message of our own errors; class and message of any other.

    Runs of white space become one blank; other control characters are escaped.
    """
    if isinstance(error, RagAssetsError):
        text = str(error)
    else:
        text = masked(f"{type(error).__name__}: {error}").removesuffix(": ")
    return visible(" ".join(text.split()))
