"""Clustered vectors of versions in a small space, as an embedder would make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.bible.sql.embeddings import publish, stale_verses
from rag_assets.index.maintain import IndexOutcome, IndexRequest, maintain
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress, Silent
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served, served_on_trial
from rag_assets.settings.model import Precision, Settings
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import VectorTable, announce, bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import ALLOWED, load_version
from rag_assets_tests.vectors.vectors import answer_texts, space_of

DIMENSIONS = 64


def index_settings(make_settings: MakeSettings, **overrides: object) -> Settings:
    """Settings for small vectors without codes, an index over few rows, and filters that use it."""
    values: dict[str, object] = {
        "rag_embedding_small_dimensions": DIMENSIONS,
        "rag_code_bits": 0,
        "rag_index_profile": "dev",
        "rag_index_min_rows": 1000,
        "rag_index_query_sample": 200,
        "rag_search_exact_rows": 400,
        "rag_golden_queries": None,
    }
    return make_settings(**(values | overrides))


def clustered(
    count: int,
    *,
    dimensions: int = DIMENSIONS,
    clusters: int = 40,
    spread: float = 0.7,
    place: int = 1,
    seed: int = 1,
) -> NDArray[np.float32]:
    """float32, shape (count, dimensions), of length 1: some around each of ``clusters`` centres.

    :param place: where the centres are; other places hold other subjects.
    :param seed: of the vectors around them.
    """
    centres = np.random.default_rng(1000 + place).normal(size=(clusters, dimensions))
    draw = np.random.default_rng(seed)
    rows = centres[draw.integers(clusters, size=count)]
    rows = rows + spread * draw.normal(size=rows.shape)
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")
    return unit


def texts_of(code: str, count: int) -> list[str]:
    """Texts that no other version has."""
    return [f"{code} verse {place}" for place in range(count)]


def fill(
    database: Database,
    space: Space,
    code: str,
    vectors: NDArray[np.float32],
    *,
    language: str = "en",
    enabled: bool = True,
) -> None:
    """Load a version with one text per vector, and publish them as an embedding run does."""
    texts = texts_of(code, len(vectors))
    declared = replace(ALLOWED, language=language, enabled_for_rag=enabled)
    load_version(database, code, texts, declared)
    republish(database, space, code, texts, vectors)


def republish(
    database: Database, space: Space, code: str, texts: list[str], vectors: NDArray[np.float32]
) -> None:
    """Give these texts of a loaded version new vectors."""
    with database.connect() as connection:
        answer_texts(connection, space, texts, vectors)
        wanted = set(texts)
        every = stale_verses(connection, space, code, every=True)
        ids = [verse.verse_id for verse in every if verse.text in wanted]
        publish(connection, space, code, ids, run_id="embed")


def filled_table(
    database: Database,
    settings: Settings,
    versions: Mapping[str, int],
    *,
    clusters: int = 40,
    spread: float = 0.7,
    languages: Mapping[str, str] | None = None,
) -> VectorTable:
    """The small space with this many vectors per version, all around the same centres."""
    space = space_of(database, settings)
    for seed, (code, count) in enumerate(versions.items()):
        vectors = clustered(
            count,
            dimensions=space.spec.dimensions,
            clusters=clusters,
            spread=spread,
            seed=seed + 1,
        )
        fill(database, space, code, vectors, language=(languages or {}).get(code, "en"))
    return bible_table(space)


def on_trial(database: Database, target: Target) -> Served:
    """A target as the checks search it."""
    with database.connect(autocommit=True) as connection:
        return served_on_trial(connection, target)


def copy_rows(
    database: Database,
    space: Space,
    code: str,
    vectors: NDArray[np.float32],
    *,
    first_id: int = 1,
    language: str = "en",
) -> VectorTable:
    """Insert many vectors of a version without texts, for tables that take long to index."""
    with database.connect() as connection:  # the ids below are chosen here
        connection.execute("SELECT setval(pg_get_serial_sequence('verses', 'verse_id'), 10000000)")
    load_version(database, code, texts_of(code, 1), replace(ALLOWED, language=language))
    with database.connect() as connection:
        connection.execute("DELETE FROM verses WHERE version_code = %s", (code,))
        connection.execute(
            """
            INSERT INTO verses (verse_id, version_code, book, book_order, chapter, verse,
                                verse_end, text, text_hash)
            OVERRIDING SYSTEM VALUE
            SELECT %(first)s + i, %(code)s, 'GEN', 0, 1 + i / 200, 1 + i %% 200, 1 + i %% 200,
                   'row ' || i, decode(repeat('00', 32), 'hex')
              FROM generate_series(0, %(count)s - 1) AS i
            """,
            {"first": first_id, "code": code, "count": len(vectors)},
        )
    component = ">f2" if space.spec.precision == "halfvec" else ">f4"
    dimensions = space.spec.dimensions
    words = {"version_code": code, "language": language, "book": "GEN", "run_id": "copied"}
    columns: list[tuple[str, object, object]] = [
        ("verse_id", ">i8", np.arange(first_id, first_id + len(vectors))),
        ("chapter", ">i2", 1),
        ("text_hash", "V32", np.void(bytes(32))),
        *((name, f"V{len(word)}", np.void(word.encode())) for name, word in words.items()),
    ]
    fields: list[tuple[str, object]] = [("fields", ">i2")]
    for name, kind, _ in columns:
        fields += [(f"{name}_length", ">i4"), (name, kind)]
    fields += [
        ("embedding_length", ">i4"),
        ("dimensions", ">i2"),
        ("unused", ">i2"),
        ("embedding", component, (dimensions,)),  # type: ignore[list-item]
    ]
    rows = np.zeros(len(vectors), dtype=fields)
    rows["fields"] = len(columns) + 1
    for name, kind, value in columns:
        rows[f"{name}_length"] = np.dtype(kind).itemsize
        rows[name] = value
    rows["embedding_length"] = 4 + np.dtype(component).itemsize * dimensions
    rows["dimensions"] = dimensions
    rows["embedding"] = vectors
    table = bible_table(space)
    with database.connect() as connection:
        announce(connection, table, code, rows=len(vectors))
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            table.identifier,
            sql.SQL(", ").join(
                sql.Identifier(name) for name in (*(column[0] for column in columns), "embedding")
            ),
        )
        with connection.cursor().copy(statement) as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff")
    return table


@dataclass
class Heard:
    """Progress that records messages."""

    lines: list[str] = field(default_factory=list)

    def start(self, task: str, total: int) -> None:
        self.lines.append(f"{task}: {total}")

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None:
        self.lines.append(message)


def maintained(
    database: Database,
    settings: Settings,
    table: VectorTable,
    *,
    lists: int | None = None,
    lists_candidates: tuple[int, ...] = (),
    precision: Precision | None = None,
    maintenance_work_mem: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    queries: NDArray[np.float32] | None = None,
) -> IndexOutcome:
    """One maintenance run."""
    return maintain(
        database,
        settings,
        table,
        IndexRequest(lists, lists_candidates, precision, maintenance_work_mem, force),
        run_id="run",
        progress=progress or Silent(),
        queries=queries,
    )


def index_names(connection: Connection) -> list[str]:
    """Every IVFFlat index in the database, including invalid ones."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_am a ON a.oid = c.relam"
        " WHERE a.amname = 'ivfflat' ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def generation_states(connection: Connection) -> list[tuple[int, str]]:
    """Number and state of each recorded generation."""
    return connection.execute(
        "SELECT generation, state FROM index_generations ORDER BY generation"
    ).fetchall()
