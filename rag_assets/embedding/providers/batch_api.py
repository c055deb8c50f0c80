"""Files and batches of an OpenAI-compatible server: ``/v1/files`` and ``/v1/batches``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from openai.types import Batch

from rag_assets.embedding.providers.openai_client import explained, open_client
from rag_assets.errors import (
    ConfigurationError,
    InputRejectedError,
    ProviderAnswerError,
    RagAssetsError,
    TransientError,
)
from rag_assets.secrecy import word

_ENDED = frozenset({"completed", "expired", "cancelled", "failed"})
_TOKEN = "rag_assets_batch"  # noqa: S105 -- the name of a batch in its metadata
_CHUNK = 1 << 20


@dataclass(frozen=True)
class BatchState:
    """A batch as the server describes it.

    :param code: why it failed; empty where it did not.
    """

    provider_id: str
    status: str
    output_file_id: str | None
    due_at: datetime | None
    code: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will be answered."""
        return self.status in _ENDED

    @classmethod
    def of(cls, batch: Batch) -> BatchState:
        errors = batch.errors.data if batch.errors and batch.errors.data else []
        due = batch.expires_at
        return cls(
            provider_id=batch.id,
            status=batch.status,
            output_file_id=batch.output_file_id,
            due_at=datetime.fromtimestamp(due, UTC) if due else None,
            code=word(errors[0].code or "") or "unknown" if errors else "",
        )


@contextmanager
def _explained(key: str, what: str) -> Iterator[None]:
    """As :func:`explained`, which speaks of models and texts, but of batches.

    :param what: that was asked for, which the server may not know.
    """
    try:
        with explained(key):
            yield
    except ConfigurationError:
        raise ConfigurationError(
            f"the embedding provider does not know {what}: correct OPENAI_BASE_URL, or if it has "
            "deleted that, give the batch up (`rag-assets batches list`, `rag-assets batches "
            "give-up BATCH`)"
        ) from None
    except InputRejectedError as error:
        raise ProviderAnswerError(f"the embedding provider refuses {what}: {error}") from None


class BatchApi:
    """One key's batches, until it is closed.

    Its methods raise :class:`rag_assets.errors.RagAssetsError`, as a request for embeddings does.
    """

    def __init__(self, *, base_url: str, key: str, timeout_s: float) -> None:
        self._client = open_client(base_url=base_url, key=key, timeout_s=timeout_s)
        self._key = key

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def supported(self) -> bool:
        """Whether the server has batches; it costs nothing to ask."""
        try:
            with explained(self._key):
                self._client.batches.list(limit=1)
        except TransientError:
            raise
        except RagAssetsError:
            return False
        return True

    def upload(self, path: Path) -> str:
        """Upload the requests of a batch; the file's id."""
        # As an open file: a path would be read into memory as a whole.
        with _explained(self._key, "uploads of batches"), path.open("rb") as file:
            return self._client.files.create(file=(path.name, file), purpose="batch").id

    def create(self, file_id: str, token: str) -> BatchState:
        """Begin a batch; ``token`` is how it is found again."""
        with _explained(self._key, "batches"):
            return BatchState.of(
                self._client.batches.create(
                    input_file_id=file_id,
                    endpoint="/v1/embeddings",
                    completion_window="24h",
                    metadata={_TOKEN: token},
                )
            )

    def find(self, token: str, since: datetime) -> BatchState | None:
        """The batch that was begun with ``token``, if its answer was lost."""
        with _explained(self._key, "batches"):
            for batch in self._client.batches.list(limit=100):
                if (batch.metadata or {}).get(_TOKEN) == token:
                    return BatchState.of(batch)
                if batch.created_at < since.timestamp() - 3600:
                    break
        return None

    def retrieve(self, provider_id: str) -> BatchState:
        """How a batch stands."""
        with _explained(self._key, f"the batch {provider_id}"):
            return BatchState.of(self._client.batches.retrieve(provider_id))

    def cancel(self, provider_id: str) -> BatchState:
        """End a batch; what is answered can be fetched, and is paid for."""
        with _explained(self._key, f"the batch {provider_id}"):
            return BatchState.of(self._client.batches.cancel(provider_id))

    def download(self, file_id: str, into: IO[bytes]) -> None:
        """Write a file's content to ``into``."""
        with (
            _explained(self._key, f"the results {file_id}"),
            self._client.files.with_streaming_response.content(file_id) as response,
        ):
            for chunk in response.iter_bytes(_CHUNK):
                into.write(chunk)
