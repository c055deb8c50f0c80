"""What a corpus takes: disk, memory, time, tokens. Constants are measured by :mod:`.measure`.

Lists, the memory of a build and its disk are computed by the code that decides on them, so that
this cannot say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rag_assets.index.build_size import build_size, item_bytes
from rag_assets.index.policy import recommended_lists
from rag_assets.settings.model import Precision, Settings
from rag_assets.vectors.prices import usd_per_million_tokens
from rag_assets.vectors.sql.spaces import ROLES

Kind = Literal["verses", "chunks"]

PAGE = 8192
PAGE_HEADER, LINE_POINTER = 24, 4
OTHER_FIELDS = 136
"""Bytes of a row beside its vector: header, ids, scope, hash, run, time, and their alignment."""
OTHER_INDEXES = 106
"""Bytes a row of the B-trees on a table of vectors."""
TEXT: dict[Kind, int] = {"verses": 624, "chunks": 7_685}
"""Bytes a row of the texts with their full text index: 31,102 verses of 132 bytes, 2,018 chunks of
2,050."""
TEXT_BYTES: dict[Kind, int] = {"verses": 132, "chunks": 2_050}
BYTES_A_TOKEN = 4
LOAD_WAL = 1.19
"""Bytes of WAL for each byte of a vector that is written."""
BUILD_S_A_ROW, BUILD_S_A_ROW_AND_LIST = 7.6e-6, 2.8e-8
"""Seconds of a build over codes of 1,536 bits with two workers on two busy cores: 5.4 s for 310,000
rows and 310 lists, 37 to 41 s for 933,045 and 933 (benchmarks/README.md)."""
CODE_BITS = 1_536
CODE_FIELDS = 40
"""Bytes of a row of codes beside its code: header, id, part, book and chapter. Measured: 248 bytes
a row of 1,536 bits in all."""
CODE_INDEXES = 44
"""Bytes a row of the B-trees on a table of codes: ids, and parts."""
READ = ((62_203, 62, 13), (310_000, 310, 29), (1_000_000, 1_000, 10))
"""Rows, lists and probes that tuning chose over codes of dense vectors."""
RUN_BYTES, DOCUMENT_BYTES = 49_152, 6_799
"""What Dagster's database keeps of a run, and of each document in it."""

DIMENSIONS: tuple[tuple[int, Precision], ...] = (
    (768, "halfvec"),
    (1024, "halfvec"),
    (1536, "halfvec"),
    (1536, "vector"),
    (3072, "halfvec"),
)
ROWS = (62_000, 310_000, 1_000_000, 4_000_000, 10_000_000, 100_000_000)
GB, MB = 1e9, 2**20


@dataclass(frozen=True)
class Size:
    """Bytes of one space's table with one index, and of what a build of it takes."""

    lists: int
    table: int
    other_indexes: int
    codes: int
    index: int
    build_memory: int
    build_spool: int

    def disk(self, releases_kept: int) -> int:
        """While an index is built: those that are kept, the new one, the sorting of its rows."""
        indexes = 1 + releases_kept + 1
        return (
            self.table + self.other_indexes + self.codes + indexes * self.index + self.build_spool
        )


def size(rows: int, dimensions: int, precision: Precision) -> Size:
    """One space, with the profile ``prod``."""
    lists = recommended_lists(rows, "prod")
    building = build_size(rows=rows, lists=lists, dimensions=CODE_BITS, precision="bit")
    spool = rows * (item_bytes(CODE_BITS, "bit") + 16)
    return Size(
        lists=lists,
        table=-(-rows // rows_a_page(dimensions, precision)) * PAGE,
        other_indexes=rows * OTHER_INDEXES,
        codes=-(-rows // codes_a_page()) * PAGE + rows * CODE_INDEXES,
        index=building.disk - spool,
        build_memory=building.memory,
        build_spool=spool,
    )


def rows_a_page(dimensions: int, precision: Precision) -> int:
    """Whole rows of a table of vectors in a page; those over 8,000 bytes lie beside it."""
    row = item_bytes(dimensions, precision) + OTHER_FIELDS
    return max(1, (PAGE - PAGE_HEADER) // (row + LINE_POINTER))


def codes_a_page() -> int:
    """Whole rows of a table of codes in a page."""
    return (PAGE - PAGE_HEADER) // (item_bytes(CODE_BITS, "bit") + CODE_FIELDS + LINE_POINTER)


def vector_index(rows: int, dimensions: int, precision: Precision) -> tuple[int, int]:
    """Bytes of an index over the vectors, where codes miss the recall floor, and of building it."""
    lists = recommended_lists(rows, "prod")
    building = build_size(rows=rows, lists=lists, dimensions=dimensions, precision=precision)
    return building.disk - rows * (item_bytes(dimensions, precision) + 16), building.memory


def build_seconds(rows: int) -> float:
    """Of an index over codes on two cores: each row, and each row with each list."""
    return rows * (BUILD_S_A_ROW + BUILD_S_A_ROW_AND_LIST * recommended_lists(rows, "prod"))


def tokens(kind: Kind, rows: int) -> float:
    """That embedding so many rows takes in one space."""
    return rows * TEXT_BYTES[kind] / BYTES_A_TOKEN


def tables() -> Iterator[str]:
    """Those of docs/sizing.md, in its order, as Markdown."""
    yield "".join(
        f"| `{precision}({dimensions})` | {rows_a_page(dimensions, precision)} "
        f"| {PAGE / rows_a_page(dimensions, precision):,.0f} "
        f"| {vector_index(1_000_000, dimensions, precision)[0] / 1e6:,.0f} "
        f"| {vector_index(1_000_000, dimensions, precision)[1] / MB:,.0f} |\n"
        for dimensions, precision in DIMENSIONS
    )
    kept = Settings.model_fields["rag_releases_kept"].default
    rows = []
    for count in ROWS:
        of = size(count, 1536, "halfvec")
        rows.append(
            f"| {count:,} | {of.lists:,} | {of.table / GB:,.1f} | {of.codes / GB:,.2f} "
            f"| {of.index / GB:,.2f} | {of.disk(kept) / GB:,.0f} | {of.build_memory / MB:,.0f} "
            f"| {_time(build_seconds(count))} | {LOAD_WAL * count * 3_080 / GB:,.1f} |\n"
        )
    yield "".join(rows)
    yield "".join(
        f"| {count:,} | {lists:,} | {probes} | {count * probes / lists:,.0f} |\n"
        for count, lists, probes in READ
    )
    settings = Settings.model_construct()
    small, large = (usd_per_million_tokens(settings, role) or 0.0 for role in ROLES)
    minute = Settings.model_fields["rag_embedding_token_limit"].default
    rows = []
    for count in ROWS:
        for kind in ("verses", "chunks"):
            used = tokens(kind, count)
            rows.append(
                f"| {count:,} {kind} | {count * TEXT[kind] / GB:,.1f} | {used / 1e6:,.0f} "
                f"| {used / 1e6 * small:,.2f} | {used / 1e6 * large:,.2f} "
                f"| {_time(used / minute * 60)} |\n"
            )
    yield "".join(rows)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.0f} h" if seconds < 72 * 3600 else f"{seconds / 86400:,.0f} days"
