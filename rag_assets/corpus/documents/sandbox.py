"""Reads documents in a child process, so that one that takes too much ends nothing but that child.

What is read, and how, belongs to :mod:`.extract`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from rag_assets.corpus.documents.model import ChunkedDocument, ExtractionLimits


class Extractor:
    """One child process that reads documents one after another; a context manager.

    For one thread at a time, except that :meth:`cancel` may be called from any.
    """

    def __init__(self, limits: ExtractionLimits) -> None:
        self._limits = limits

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def extract(self, path: Path, name: str) -> ChunkedDocument:
        """Read the local file ``path``, which is called ``name`` below the inbox.

        :raises DocumentTooLargeError: it reached a limit; names the limit and its setting.
        :raises DocumentError: it cannot be read; the subclass says why.
        :raises ExtractionInterruptedError: the child ended without having reached a limit.
        """
        raise NotImplementedError(name)

    def cancel(self) -> None:
        """End an extraction that is under way: it raises ExtractionInterruptedError."""
        raise NotImplementedError

    def close(self) -> None:
        """End the child."""
