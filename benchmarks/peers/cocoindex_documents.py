"""CocoIndex keeps a table of a folder's Markdown documents: cut up, embedded, stored.

Tuned (figures measured here, 200 documents in 1,158 chunks; 1.4 s as it is):

- vectors go from the answer's base64 to ``halfvec``'s binary form; printed as text, as its own
  encoder does it, all takes 2.7 s;
- 128 texts a request, by its batching: 64 and 256 take as long, 16 a fifth longer; the provider's
  own client, without LiteLLM between;
- ``memo`` on embedding, too: a changed document buys only its changed chunks, and a first run takes
  no longer for it;
- as many documents at a time as it likes (1,024): 32 and 128 are no faster;
- the splitter knows Markdown, as its examples have it; without, it cuts anywhere and all takes
  0.9 s. A thread for it is no faster: it keeps Python's lock.

Its splitter counts bytes: of chunks of 2,300 none of the benchmark's has over 986 tokens (of 2,400,
some over 1,024), and an overlap of 230 is 64 tokens. What is left is one Python thread: three
of the eight requests that may be in flight are.

It looks once and ends; ``--state`` is what it knows for the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import numpy as np
import psycopg2
from memory import peak_rss_mb, rss_mb
from openai import AsyncOpenAI
from psycopg2 import sql

os.environ["COCOINDEX_DISABLE_USAGE_TRACKING"] = "1"  # it would tell home of its import

import cocoindex as coco
from cocoindex.connectors import localfs
from cocoindex.connectors.postgres import ColumnDef, TableSchema, TableTarget, mount_table_target
from cocoindex.ops.text import RecursiveSplitter

MODEL = "text-embedding-3-small"
DIMENSIONS = 1536
BATCH_SIZE = 128
CHUNK_BYTES, OVERLAP_BYTES = 2_300, 230
POLL_S = 0.05
DATABASE: coco.ContextKey[asyncpg.Pool] = coco.ContextKey("database")


@dataclass(frozen=True, slots=True)
class Options:
    """What the benchmark orders; the API key comes from ``OPENAI_API_KEY``."""

    database_url: str
    base_url: str
    documents: Path
    state: Path
    in_flight: int
    table: str


@dataclass(frozen=True, slots=True)
class Measured:
    """The line that the benchmark reads.

    :param seconds: from the look into the folder until all rows are there; without imports.
    :param first_s: until the table had a row.
    :param rows: counted by SQL afterwards.
    :param chunks: cut in this run.
    :param peak_rss_mb: the process's peak; it starts no others.
    """

    seconds: float
    first_s: float
    rows: int
    chunks: int
    peak_rss_mb: float
    import_rss_mb: float


class Cutter:
    """Cuts a document up, and counts the chunks."""

    def __init__(self) -> None:
        self.chunks = 0
        self._splitter = RecursiveSplitter()

    def cut(self, text: str) -> list[str]:
        found = self._splitter.split(
            text, CHUNK_BYTES, chunk_overlap=OVERLAP_BYTES, language="markdown"
        )
        self.chunks += len(found)
        return [chunk.text for chunk in found]

    def __coco_memo_key__(self) -> object:
        return CHUNK_BYTES, OVERLAP_BYTES


class Embedder:
    """Asks the provider; single texts become requests of up to :data:`BATCH_SIZE`."""

    def __init__(self, options: Options) -> None:
        self._client = AsyncOpenAI(base_url=options.base_url)
        self._slots = asyncio.Semaphore(options.in_flight)

    @coco.fn.as_async(batching=True, max_batch_size=BATCH_SIZE, memo=True)
    async def embed(self, texts: list[str]) -> list[bytes]:
        async with self._slots:
            answer = await self._client.embeddings.create(
                model=MODEL, input=texts, encoding_format="base64"
            )
        return [halfvec(str(item.embedding)) for item in answer.data]  # typed as numbers

    def __coco_memo_key__(self) -> object:
        return MODEL


def halfvec(encoded: str) -> bytes:
    """What PostgreSQL receives for a vector: two numbers, and the components."""
    vector = np.frombuffer(base64.b64decode(encoded), "<f4")
    return struct.pack(">HH", len(vector), 0) + vector.astype(">f2").tobytes()


@coco.fn(memo=True)
async def index_document(
    file: localfs.File, cutter: Cutter, embedder: Embedder, table: TableTarget
) -> None:
    """One document's rows, where it or this code has changed."""
    texts = cutter.cut(await file.read_text())
    vectors = await asyncio.gather(*map(embedder.embed, texts))
    document = str(file.file_path.path)
    for place, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        row = {"document": document, "place": place, "text": text, "embedding": vector}
        table.declare_row(row=row)


@coco.fn
async def index_folder(options: Options, cutter: Cutter, embedder: Embedder) -> None:
    """The table, and a component for each document."""
    columns = {
        "document": ColumnDef("text", nullable=False),
        "place": ColumnDef("integer", nullable=False),
        "text": ColumnDef("text", nullable=False),
        "embedding": ColumnDef(f"halfvec({DIMENSIONS})", nullable=False),
    }
    schema = TableSchema(columns, ["document", "place"])
    table = await mount_table_target(DATABASE, options.table, schema)
    documents = localfs.walk_dir(options.documents, recursive=True).items()
    await coco.mount_each(index_document, documents, cutter, embedder, table)


async def pass_vectors_on(connection: asyncpg.Connection) -> None:
    """They are encoded already."""
    await connection.set_type_codec(
        "halfvec", schema="public", encoder=bytes, decoder=bytes, format="binary"
    )


@contextmanager
def first_row(options: Options) -> Iterator[list[float]]:
    """Meanwhile, a thread notes when a search could find the first row."""
    found: list[float] = []
    done = threading.Event()

    def watch() -> None:
        connection = psycopg2.connect(options.database_url)
        connection.autocommit = True
        query = sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(options.table))
        with connection.cursor() as cursor:
            while not found and not done.wait(POLL_S):
                try:
                    cursor.execute(query)
                except psycopg2.errors.UndefinedTable:
                    continue
                if cursor.rowcount:
                    found.append(time.perf_counter())
        connection.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


async def index(options: Options, import_rss_mb: float) -> Measured:
    """The whole job, and what it took."""
    connection = await asyncpg.connect(options.database_url)
    await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    async with asyncpg.create_pool(options.database_url, init=pass_vectors_on) as pool:
        context = coco.ContextProvider()
        context.provide(DATABASE, pool)
        settings = coco.Settings(db_path=options.state)
        config = coco.AppConfig(
            name="documents",
            environment=coco.Environment(settings, context_provider=context),
        )
        cutter = Cutter()
        app = coco.App(config, index_folder, options, cutter, Embedder(options))
        with first_row(options) as found:
            start = time.perf_counter()
            await app.update()
            seconds = time.perf_counter() - start
    rows = await connection.fetchval(f'SELECT count(*) FROM "{options.table}"')  # noqa: S608
    await connection.close()
    return Measured(
        round(seconds, 2),
        round((found or [start + seconds])[0] - start, 2),
        rows,
        cutter.chunks,
        peak_rss_mb(),
        import_rss_mb,
    )


def main() -> None:
    """Memory first: before anything is opened."""
    import_rss_mb = rss_mb()
    parser = argparse.ArgumentParser(description="CocoIndex keeps a table of Markdown documents.")
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--base-url", required=True, help="such as http://127.0.0.1:8080/v1")
    parser.add_argument("--documents", type=Path, required=True, help="the folder")
    parser.add_argument("--state", type=Path, required=True, help="CocoIndex' own, kept for later")
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--table", required=True, help="made by CocoIndex")
    options = Options(**vars(parser.parse_args()))
    print(json.dumps(asdict(asyncio.run(index(options, import_rss_mb)))), flush=True)


if __name__ == "__main__":
    main()
