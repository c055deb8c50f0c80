"""What the parts share: the server, tables filled by binary COPY, progress, reports."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from psycopg import sql
from rich.console import Console
from rich.table import Table

from benchmarks.index.corpus import Corpus, Vectors
from benchmarks.workload import workload
from rag_assets.embedding.batching import text_hash
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Connection, Database, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import Precision, Settings
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.spaces import register_space
from rag_assets.vectors.sql.tables import VectorTable, announce, bible_table, record_change

RUN_ID = "bench"
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_COMPONENT = {"vector": ">f4", "halfvec": ">f2"}
_ROWS = 4096
_STARTED = time.monotonic()


@dataclass(frozen=True)
class Report:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass
class Bench:
    """One run.

    :param sizes: rows of the tables, ascending.
    :param rounds: in turn, where timings are compared.
    :param tuning: held-out queries to tune with; ``judging`` others judge.
    """

    database: Database
    settings: Settings
    corpus: Corpus
    sizes: tuple[int, ...]
    rounds: int
    tuning: int
    smoke: bool
    judging: int = 0
    _tables: dict[int, VectorTable] = field(default_factory=dict)

    def table(self, rows: int) -> VectorTable:
        """A filled table of so many rows, without an IVFFlat index; filled once."""
        if rows not in self._tables:
            table = self.space_table(f"rows-{rows}", "halfvec")
            self.fill(table, rows)
            self._tables[rows] = table
        self.drop_indexes(self._tables[rows])
        return self._tables[rows]

    def space_table(self, model: str, precision: Precision) -> VectorTable:
        """An empty table of a space of its own."""
        chosen = self.settings.model_copy(
            update={"rag_embedding_small_model": model, "rag_embedding_precision": precision}
        )
        with self.database.connect() as connection:
            return bible_table(register_space(connection, chosen, "small"))

    def fill(self, table: VectorTable, rows: int) -> float:
        """COPY so many rows into an empty table, as one transaction; seconds of the COPY alone."""
        say(f"filling {table} with {rows:,} rows")
        seconds = 0.0
        with self.database.connect() as connection:
            connection.execute(sql.SQL("TRUNCATE {}").format(table.identifier))
            statement = sql.SQL(
                "COPY {} (verse_id, version_code, language, book, chapter, embedding, text_hash,"
                " run_id) FROM STDIN (FORMAT BINARY)"
            ).format(table.identifier)
            announce(connection, table, None)
            counts: dict[str, int] = {}
            with connection.cursor().copy(statement) as copy:
                copy.write(_HEADER)
                first_id = 1
                for code, vectors in self.corpus.blocks(rows):
                    counts[code] = len(vectors)
                    for start in range(0, len(vectors), _ROWS):
                        chunk = self.corpus.raised(vectors[start : start + _ROWS])
                        data = _copy_rows(chunk, code, first_id, table.space.spec.precision)
                        first_id += len(chunk)
                        began = time.perf_counter()
                        copy.write(data)
                        seconds += time.perf_counter() - began
                began = time.perf_counter()
                copy.write(_TRAILER)
            for code, count in counts.items():
                _declare(connection, code)
                record_change(connection, table, code, count)
        seconds += time.perf_counter() - began
        with self.database.connect(autocommit=True) as connection:
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(table.identifier))
            connection.execute("CHECKPOINT")
        return seconds

    def drop_indexes(self, table: VectorTable) -> None:
        """Drop every IVFFlat index, and make room for a build in a quiet server."""
        with self.database.connect(autocommit=True) as connection:
            generations.drop_indexes(connection, live_indexes(connection, table))
            connection.execute("CHECKPOINT")

    def serve(self, table: VectorTable, generation: Generation) -> None:
        """Make this generation the one that is served: it alone is pinned."""
        with self.database.connect() as connection:
            connection.execute("UPDATE releases SET state = 'superseded' WHERE state = 'active'")
            connection.execute(
                """
                WITH made AS (
                    INSERT INTO releases (state, versions, reasons, manifest, code_version, run_id)
                    VALUES ('active', '{}', '{}', '{}', 'bench', %s) RETURNING release_id
                )
                INSERT INTO release_spaces (release_id, corpus, role, space_id, generation)
                SELECT release_id, %s, 'small', %s, %s FROM made
                """,
                (RUN_ID, table.corpus, table.space.space_id, generation.number),
            )

    def serve_nothing(self) -> None:
        """No generation is pinned any more."""
        with self.database.connect() as connection:
            connection.execute("DELETE FROM release_spaces")
            connection.execute("DELETE FROM releases")


@contextmanager
def own_server() -> Iterator[tuple[Database, Settings]]:
    """An embedded server of the benchmark's own, gone at the end.

    Without codes: these tables are of the index over vectors, which serves where codes miss the
    recall floor, and which codes are to be compared with.
    """
    home = Path(tempfile.mkdtemp(prefix="rag-bench-index-"))
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None, rag_home=home, rag_database_url=None, rag_code_bits=0
    )
    try:
        database = open_database(settings)
        migrate(database)
        yield database, settings
    finally:
        embedded.release(home / "postgres")
        shutil.rmtree(home)


def say(message: str) -> None:
    """Where the run is, with the seconds since its start."""
    Console(stderr=True, highlight=False).print(f"{time.monotonic() - _STARTED:7.1f} s  {message}")


def show(report: Report) -> None:
    """The table for the terminal, and as Markdown, to be pasted into benchmarks/README.md."""
    table = Table(title=report.title)
    for place, name in enumerate(report.columns):
        table.add_column(name, justify="right" if place else "left")
    for row in report.rows:
        table.add_row(*row)
    Console(width=160).print(table)
    print(f"\n{report.title}\n")
    print(f"| {' | '.join(report.columns)} |")
    print(f"|---|{'---:|' * (len(report.columns) - 1)}")
    for row in report.rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def row_text(number: int) -> str:
    """The text of a row by its id, of which its vector is said to be: one of a whole Bible's."""
    texts = _texts()
    return f"{texts[number % len(texts)]} ({number})"


@cache
def _texts() -> tuple[str, ...]:
    return tuple(verse.text for verse in workload().verses)


def median(values: Sequence[float]) -> float:
    """The median."""
    return float(np.median(values))


def _declare(connection: Connection, code: str) -> None:
    """Searches ask only bible_versions what may be served; they do without the verses' texts."""
    connection.execute(
        """
        INSERT INTO bible_versions (version_code, name, language, licence, ai_allowed,
                                    enabled_for_rag, source_format, source_hash, reference_count,
                                    run_id)
        VALUES (%s, 'Benchmark', %s, 'public domain', true, true, 'made', 'made', 0, %s)
        ON CONFLICT DO NOTHING
        """,
        (code, code[:2].lower(), RUN_ID),
    )


def _copy_rows(vectors: Vectors, code: str, first_id: int, precision: Precision) -> bytes:
    """Rows of one version in PostgreSQL's binary COPY format; every field has a fixed width."""
    count, dimensions = vectors.shape
    component = np.dtype(_COMPONENT[precision])
    texts = {"code": code, "language": code[:2].lower(), "book": "GEN"}
    row = np.dtype(
        [
            ("fields", ">i2"),
            ("id_length", ">i4"), ("id", ">i8"),
            *((name, *kind) for text, value in texts.items()
              for name, kind in ((f"{text}_length", (">i4",)), (text, (f"S{len(value)}",)))),
            ("chapter_length", ">i4"), ("chapter", ">i2"),
            ("embedding_length", ">i4"), ("dimensions", ">i2"), ("unused", ">i2"),
            ("components", component, (dimensions,)),
            ("hash_length", ">i4"), ("hash", "V32"),
            ("run_length", ">i4"), ("run", f"S{len(RUN_ID)}"),
        ]
    )  # fmt: skip
    rows = np.zeros(count, dtype=row)
    rows["fields"] = 8
    rows["id_length"], rows["id"] = 8, np.arange(first_id, first_id + count)
    for text, value in texts.items():
        rows[f"{text}_length"], rows[text] = len(value), value.encode()
    rows["chapter_length"], rows["chapter"] = 2, 1
    rows["embedding_length"] = 4 + component.itemsize * dimensions
    rows["dimensions"], rows["components"] = dimensions, vectors
    hashes = b"".join(text_hash(row_text(number)) for number in range(first_id, first_id + count))
    rows["hash_length"], rows["hash"] = 32, np.frombuffer(hashes, dtype="V32")
    rows["run_length"], rows["run"] = len(RUN_ID), RUN_ID.encode()
    return rows.tobytes()
