"""multilingual-e5-small on this machine: meaning in a hundred languages without a key.

Made for demonstrations, tests and small corpora: at most 30 verses per second and processor. It
runs in a child process, :mod:`.local_child`: it is C code, and anyone may have written the texts.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
import pybase64
from numpy.typing import NDArray

from rag_assets.embedding.embedder import Answer, embedding_span, normalised
from rag_assets.errors import ProviderUnavailableError
from rag_assets.sandbox.child_process import ChildError, ChildProcess
from rag_assets.settings.instructions import Kind
from rag_assets.vectors.sql.spaces import SpaceSpec

_MODULE = "rag_assets.embedding.providers.local_child"
_MEMORY_BYTES = 1 << 30  # four times what verses take
_ENVIRONMENT = {"OMP_WAIT_POLICY": "passive"}
"""Its threads wait asleep: where other processes work too, that saves a third of its time."""
_TEXTS = 16  # in one request to the child: a query waits for no more than these


class LocalEmbedder:
    """Embeds in a child process. Use it as an async context manager.

    The child is started by the first request, and again after one that ended it.
    """

    endpoint = "local"
    keys: Sequence[str] = ("",)
    limited = False

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._child: ChildProcess | None = None
        self._using = threading.Lock()  # held while the child's pipes are used, or closed
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id; ``None`` while there is none."""
        return self._child.pid if self._child is not None else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        if (child := self._child) is not None:
            child.signal_end()  # a request that is under way ends with it
        await asyncio.to_thread(self._close)

    async def embed(
        self,
        texts: Sequence[str],
        spec: SpaceSpec,
        api_key: str,  # noqa: ARG002
        kind: Kind,
    ) -> Answer:
        """See :class:`rag_assets.embedding.embedder.Embedder`."""
        rows, tokens = [np.zeros((0, spec.dimensions), dtype=np.float32)], 0
        with embedding_span(spec, len(texts)) as span:
            for start in range(0, len(texts), _TEXTS):
                part, used = await asyncio.to_thread(self._ask, texts[start : start + _TEXTS], kind)
                rows.append(part)
                tokens += used
            span.set({"gen_ai.usage.input_tokens": tokens})
        vectors, refused = normalised(np.concatenate(rows), spec)
        return Answer(vectors, tokens, refused)

    def _ask(self, texts: Sequence[str], kind: Kind) -> tuple[NDArray[np.float32], int]:
        # The model's texts end at a NUL.
        request = {"texts": [text.replace("\0", " ") for text in texts], "kind": kind}
        with self._using:
            started = time.monotonic()
            try:
                child = self._ready()
                started = time.monotonic()
                answer = json.loads(next(child.ask(request, None, seconds=self._timeout_s)))
                vectors = np.frombuffer(pybase64.b64decode(answer["vectors"]), dtype="<f4")
                return vectors.reshape(len(texts), -1), int(answer["tokens"])
            except (ChildError, ValueError, KeyError, TypeError) as error:
                self._replace()  # an answer that makes no sense is no longer the child that we know
                slow = time.monotonic() - started >= self._timeout_s
                raise _explained(error, slow=slow) from None

    def _ready(self) -> ChildProcess:
        if self._closed:
            raise ProviderUnavailableError("the local model has been closed")
        if self._child is not None and not self._child.asleep():
            self._replace()  # it ended between two requests
        if self._child is None:
            bounds = {"memory_bytes": _MEMORY_BYTES, "seconds": self._timeout_s}
            self._child = ChildProcess(
                _MODULE, bounds, memory_bytes=_MEMORY_BYTES, environment=_ENVIRONMENT
            )
        self._child.wait_until_ready()
        return self._child

    def _replace(self) -> None:
        """End the child; the next request starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _close(self) -> None:
        with self._using:
            self._replace()


def _explained(error: Exception, *, slow: bool) -> ProviderUnavailableError:
    """The same request may pass with another child.

    :param slow: it had all its time, whether it worked or waited for the machine.
    """
    if isinstance(error, ChildError) and slow:
        return ProviderUnavailableError(
            f"the local model {error} (RAG_EMBEDDING_TIMEOUT_S)", timed_out=True
        )
    ended = error if isinstance(error, ChildError) else "answered what makes no sense"
    return ProviderUnavailableError(f"the process of the local model {ended}")
