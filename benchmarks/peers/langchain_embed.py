"""LangChain embeds and stores the texts: OpenAIEmbeddings and PGVectorStore.

Tuned (figures measured here):

- eight `aadd_documents` at a time, one batch each, because OpenAIEmbeddings sends its requests one
  after another; sixteen are no faster;
- asyncpg rather than psycopg: 6 % less CPU;
- AUTOCOMMIT: 10 % less CPU, as the store commits after each row anyway;
- the engine on this event loop: `PGEngine.from_connection_string` would hop to a thread and back;
- no metadata column: the reference is the id.

Its tables are ``vector`` only; altered to ``halfvec`` by hand it takes as long. What is left is one
Python thread that prints floats as text, and one statement a row; uvloop does not help.
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
from langchain_core.documents import Document
from langchain_openai import OpenAIEmbeddings
from langchain_postgres import Column, PGEngine, PGVectorStore
from memory import peak_rss_mb, rss_mb
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


async def open_store(options: Options, engine: AsyncEngine) -> PGVectorStore:
    """An empty table of the peer's own making, with the extension."""
    pg = PGEngine.from_engine(engine)
    await drop_table(engine, options.table)
    await pg.ainit_vectorstore_table(
        options.table,
        DIMENSIONS,
        id_column=Column("langchain_id", "TEXT", nullable=False),
        store_metadata=False,
    )
    embeddings = OpenAIEmbeddings(
        model=MODEL,
        base_url=options.base_url,
        chunk_size=options.batch_size,
        # Verses are far below 8,192 tokens, and counting needs tiktoken's vocabulary from the net.
        check_embedding_ctx_length=False,
    )
    return await PGVectorStore.create(
        engine=pg, embedding_service=embeddings, table_name=options.table
    )


async def embed(options: Options, texts: list[Text], import_rss_mb: float) -> Measured:
    """The whole job, and what it took."""
    engine = create_async_engine(
        with_driver(options.database_url, "asyncpg"),
        pool_size=options.in_flight,
        isolation_level="AUTOCOMMIT",
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


def main() -> None:
    """Memory first: before the texts are read."""
    import_rss_mb = rss_mb()
    options = read_options("LangChain embeds and stores the texts.")
    asyncio.run(embed(options, read_texts(options.texts), import_rss_mb)).print()


if __name__ == "__main__":
    main()
