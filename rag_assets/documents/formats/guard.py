"""Turns whatever a reader raises on odd input into a fault of the document."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rag_assets.documents.formats.blocks import one_line
from rag_assets.documents.formats.text import clean
from rag_assets.errors import CorruptDocumentError, DocumentError


@contextmanager
def corrupt_if_unexpected(name: str) -> Iterator[None]:
    """Raise :class:`CorruptDocumentError` for any exception that no reader expected.

    Lack of memory stays what it is: the sandbox reports the limit.
    """
    try:
        yield
    except (DocumentError, MemoryError):
        raise
    except RecursionError as error:
        raise CorruptDocumentError(
            name, "its parts are nested too deeply: save it again without them"
        ) from error
    except Exception as error:
        said = f"{type(error).__name__}: {one_line(clean(str(error)))}"[:200]
        raise CorruptDocumentError(
            name, f"it cannot be read, it is damaged ({said}): fetch the file again"
        ) from error
