"""LangChain embeds and stores the texts: PGVectorStore with OpenAIEmbeddings."""

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
    peak_rss_mb,
    read_options,
    read_texts,
    rss_mb,
    run_workers,
    with_driver,
)
from langchain_core.documents import Document
from langchain_openai import OpenAIEmbeddings
from langchain_postgres import Column, PGEngine, PGVectorStore
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


async def open_store(options: Options, engine: AsyncEngine) -> PGVectorStore:
    """An empty table of the peer's own making."""
    # from_engine instead of from_connection_string: everything stays on this event loop, without
    # a hop to a background thread and back for each call.
    pg = PGEngine.from_engine(engine)
    await drop_table(engine, options.table)
    await pg.ainit_vectorstore_table(
        options.table,
        DIMENSIONS,
        id_column=Column("langchain_id", "TEXT", nullable=False),
        store_metadata=False,  # the id says all there is to say
    )
    embeddings = OpenAIEmbeddings(
        model=MODEL,
        base_url=options.base_url,
        chunk_size=options.batch_size,
        # Verses are far below 8,192 tokens; counting would need tiktoken's vocabulary from the net.
        check_embedding_ctx_length=False,
    )
    return await PGVectorStore.create(
        engine=pg, embedding_service=embeddings, table_name=options.table
    )


async def embed(options: Options, texts: list[Text], import_rss_mb: float) -> Measured:
    engine = create_async_engine(
        with_driver(options.database_url, "asyncpg"), pool_size=options.in_flight
    )
    store = await open_store(options, engine)

    async def add(batch: list[Text]) -> None:
        await store.aadd_documents([Document(id=it.id, page_content=it.text) for it in batch])

    start = time.perf_counter()
    await run_workers(texts, add, size=options.batch_size, workers=options.in_flight)
    seconds = time.perf_counter() - start
    rows = await count_rows(engine, options.table)
    await engine.dispose()
    return Measured(round(seconds, 2), rows, peak_rss_mb(), import_rss_mb)


if __name__ == "__main__":
    import_rss = rss_mb()
    opts = read_options(__doc__ or "")
    asyncio.run(embed(opts, read_texts(opts.texts), import_rss)).print()
