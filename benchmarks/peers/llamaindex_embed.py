"""LlamaIndex embeds and stores the texts: IngestionPipeline, OpenAIEmbedding, PGVectorStore.

Tuned (figures measured here):

- eight pipeline runs at a time, one batch each, so that storing one overlaps the requests of the
  others. One `arun` over all texts took 78 s and 3.7 GB where this took 40–55 s and 0.33 GB;
  slices of 8 × 128 with ``num_workers=8`` take at least 20 % longer, as no request flies while one
  is stored;
- ``use_halfvec``, what the project stores too: half the bytes, 3 % less CPU;
- engines of our own: given an address, it would keep five connections, not eight;
- no cache and no docstore: a first run would find nothing in them.

What is left is one Python thread, most of it printing floats as text.
"""

from __future__ import annotations

import asyncio
import time

from harness import (
    DIMENSIONS,
    MODEL,
    Measured,
    Options,
    Text,
    count_rows,
    drop_table,
    read_options,
    read_texts,
    run_workers,
    with_driver,
)
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.vector_stores.postgres import PGVectorStore
from memory import peak_rss_mb, rss_mb
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


async def open_store(options: Options, engine: AsyncEngine) -> PGVectorStore:
    """An empty table of the peer's own making, with the extension."""
    store = PGVectorStore(
        table_name=options.table,
        embed_dim=DIMENSIONS,
        use_halfvec=True,
        initialization_fail_on_error=True,
        engine=create_engine(with_driver(options.database_url, "psycopg2")),
        async_engine=engine,
    )
    await drop_table(engine, table_name(options))
    await store.async_add([])  # makes the table, so that this is not in the time
    return store


def open_pipeline(options: Options, store: PGVectorStore) -> IngestionPipeline:
    """Embeds and stores what it is given. Without a splitter, so no tokenizer is loaded."""
    embedding = OpenAIEmbedding(
        model=MODEL, api_base=options.base_url, embed_batch_size=options.batch_size
    )
    return IngestionPipeline(transformations=[embedding], vector_store=store, disable_cache=True)


def table_name(options: Options) -> str:
    """As PGVectorStore changes it."""
    return f"data_{options.table.lower()}"


async def embed(options: Options, texts: list[Text], import_rss_mb: float) -> Measured:
    """The whole job, and what it took."""
    engine = create_async_engine(
        with_driver(options.database_url, "asyncpg"), pool_size=options.in_flight
    )
    store = await open_store(options, engine)
    pipeline = open_pipeline(options, store)

    async def add(batch: list[Text]) -> None:
        await pipeline.arun(nodes=[TextNode(id_=it.id, text=it.text) for it in batch])

    start = time.perf_counter()
    await run_workers(texts, add, size=options.batch_size, workers=options.in_flight)
    seconds = time.perf_counter() - start
    rows = await count_rows(engine, table_name(options))
    await store.close()
    return Measured(round(seconds, 2), rows, peak_rss_mb(), import_rss_mb)


def main() -> None:
    """Memory first: before the texts are read."""
    import_rss_mb = rss_mb()
    options = read_options("LlamaIndex embeds and stores the texts.")
    asyncio.run(embed(options, read_texts(options.texts), import_rss_mb)).print()


if __name__ == "__main__":
    main()
