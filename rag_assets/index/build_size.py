"""Compute the memory and disk that building an IVFFlat index takes. Pure.

pgvector requests its memory in two stages, and its first error message names too small a figure,
so it is computed here. The formula follows pgvector 0.8's ``ivfbuild.c`` and ``ivfkmeans.c`` and
was checked against the server's error messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rag_assets.errors import ConfigurationError
from rag_assets.settings.index import kilobytes
from rag_assets.settings.model import Precision

Indexed = Precision | Literal["bit"]
_SAMPLES_PER_LIST = 50
_MIN_SAMPLES = 10_000
_ARRAY_HEADER_BYTES = 32  # for each of the samples, the centres, and the next centres
_PAGE_BYTES = 8192
_PAGE_HEADER_BYTES = 40
_TUPLE_HEADER_BYTES = 16


@dataclass(frozen=True)
class BuildSize:
    """Bytes that a build needs: ``memory`` for k-means, ``disk`` for the index and the sort."""

    memory: int
    disk: int


def build_size(*, rows: int, lists: int, dimensions: int, precision: Indexed) -> BuildSize:
    """Compute the size of a build.

    :param rows: rows of the table. The server allocates ``max(50 × lists, 10,000)`` samples even
        if there are fewer rows; k-means runs on the existing ones. For tables of a few pages it
        allocates less, so the figure is slightly too high.
    """
    item = item_bytes(dimensions, precision)
    room = max(_SAMPLES_PER_LIST * lists, _MIN_SAMPLES)
    samples = min(room, rows)
    first_stage = (lists + room) * item
    distances = lists * dimensions + samples * lists + lists**2 + 2 * samples + 3 * lists
    memory = first_stage + lists * item + 4 * distances + 3 * _ARRAY_HEADER_BYTES
    # A page holds whole tuples, and the last page of each list is partly empty. Rows are sorted by
    # list on disk before they are written.
    per_page = max(1, (_PAGE_BYTES - _PAGE_HEADER_BYTES) // (item + _TUPLE_HEADER_BYTES))
    index = _PAGE_BYTES * (-(-rows // per_page) + 2 * lists)
    return BuildSize(memory=memory, disk=index + rows * (item + _TUPLE_HEADER_BYTES))


def item_bytes(dimensions: int, precision: Indexed) -> int:
    """Bytes of one stored vector or code: 8 plus its components, rounded up to a multiple of 8."""
    bits = {"vector": 32, "halfvec": 16, "bit": 1}[precision]
    size = 8 + -(-dimensions * bits // 8)
    return -(-size // 8) * 8


def megabytes(size: int) -> int:
    """A number of bytes in megabytes (2²⁰ bytes), rounded up."""
    return -(-size // (1024 * 1024))


def check_build(*, maintenance_work_mem: str | None, precision: str | None) -> None:
    """Refuse a size of memory or a precision that no build can use.

    :raises ConfigurationError: naming it.
    """
    if maintenance_work_mem is not None:
        try:
            kilobytes(maintenance_work_mem)
        except ValueError as error:
            raise ConfigurationError(
                f"{maintenance_work_mem!r} is not a size of memory for a build: it {error}"
            ) from None
    if precision not in {None, "vector", "halfvec"}:
        raise ConfigurationError(f"precision {precision!r} is unknown: it is vector or halfvec")
