"""What building an IVFFlat index takes, known before it is built. Pure.

pgvector asks for its memory in two stages and its first refusal names too small a figure, so the
figure is computed here. Formula: pgvector 0.8's ``ivfbuild.c`` and ``ivfkmeans.c``, matched to the
server's own error messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import Precision

Indexed = Precision | Literal["bit"]
_SAMPLES_PER_LIST = 50
_MIN_SAMPLES = 10_000
_ARRAY_HEADER_BYTES = 32  # of the samples, the centres, and the next centres
_PAGE_BYTES = 8192
_PAGE_HEADER_BYTES = 40
_TUPLE_HEADER_BYTES = 16
_SIZE = re.compile(r"(\d+)\s*(kB|MB|GB|TB)", re.IGNORECASE)
_KILOBYTES = {"kb": 1, "mb": 1024, "gb": 1024**2, "tb": 1024**3}


@dataclass(frozen=True)
class BuildSize:
    """Bytes that a build needs: ``memory`` for k-means, ``disk`` for the index and its sorting."""

    memory: int
    disk: int


def build_size(*, rows: int, lists: int, dimensions: int, precision: Indexed) -> BuildSize:
    """Size a build.

    :param rows: rows of the table. Room is made for ``max(50 × lists, 10,000)`` samples, also where
        there are fewer rows; k-means works on those that there are. For tables of a few pages the
        server makes less room, so the figure is a little more than it needs.
    """
    item = item_bytes(dimensions, precision)
    room = max(_SAMPLES_PER_LIST * lists, _MIN_SAMPLES)
    samples = min(room, rows)
    first_stage = (lists + room) * item
    distances = lists * dimensions + samples * lists + lists**2 + 2 * samples + 3 * lists
    memory = first_stage + lists * item + 4 * distances + 3 * _ARRAY_HEADER_BYTES
    # A page holds whole tuples; the last page of a list is partly full. Rows are sorted by list on
    # disk before they are written.
    per_page = max(1, (_PAGE_BYTES - _PAGE_HEADER_BYTES) // (item + _TUPLE_HEADER_BYTES))
    index = _PAGE_BYTES * (-(-rows // per_page) + 2 * lists)
    return BuildSize(memory=memory, disk=index + rows * (item + _TUPLE_HEADER_BYTES))


def item_bytes(dimensions: int, precision: Indexed) -> int:
    """Bytes of one stored vector or code: 8 and its components, rounded up to 8."""
    bits = {"vector": 32, "halfvec": 16, "bit": 1}[precision]
    size = 8 + -(-dimensions * bits // 8)
    return -(-size // 8) * 8


def megabytes(size: int) -> int:
    """Whole megabytes (2²⁰ bytes) that hold so many bytes."""
    return -(-size // (1024 * 1024))


def kilobytes(size: str) -> int:
    """A size as PostgreSQL writes it, such as ``2GB``, in kilobytes (2¹⁰ bytes).

    :raises ConfigurationError: it is not written so.
    """
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        raise ConfigurationError(
            f"{size!r} is not a size of memory: write a whole number and its unit, such as 2GB or "
            "512MB"
        )
    return int(match.group(1)) * _KILOBYTES[match.group(2).lower()]
