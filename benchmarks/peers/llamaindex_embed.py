"""LlamaIndex embeds and stores the texts: PGVectorStore with OpenAIEmbedding."""

from __future__ import annotations

import asyncio
import os
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
from llama_index.core.schema import TextNode
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.vector_stores.postgres import PGVectorStore
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

MODE = os.environ.get("MODE", "w")


async def embed(options: Options, texts: list[Text], import_rss_mb: float) -> Measured:
    a = create_async_engine(
        with_driver(options.database_url, "asyncpg"), pool_size=options.in_flight
    )
    s = create_engine(with_driver(options.database_url, "psycopg2"))
    kw = dict(engine=s, async_engine=a)
    store = PGVectorStore(
        table_name=options.table,
        embed_dim=DIMENSIONS,
        initialization_fail_on_error=True,
        cache_ok=True,
        use_jsonb=os.environ.get("JSONB") == "1",
        **kw,
    )
    name = f"data_{options.table}"
    await drop_table(a, name)
    await store.async_add([])
    e = OpenAIEmbedding(
        model=MODEL,
        api_base=options.base_url,
        embed_batch_size=options.batch_size,
        num_workers=options.in_flight,
    )

    async def add(batch: list[Text]) -> None:
        nodes = [TextNode(id_=it.id, text=it.text) for it in batch]
        vs = await e.aget_text_embedding_batch([n.text for n in nodes])
        for n, v in zip(nodes, vs, strict=True):
            n.embedding = v
        await store.async_add(nodes)

    start = time.perf_counter()
    if MODE == "w":
        await run_workers(texts, add, size=options.batch_size, workers=options.in_flight)
    elif MODE == "all":
        nodes = [TextNode(id_=it.id, text=it.text) for it in texts]
        vs = await e.aget_text_embedding_batch([n.text for n in nodes])
        for n, v in zip(nodes, vs, strict=True):
            n.embedding = v
        await store.async_add(nodes)
    elif MODE == "pipe":
        from llama_index.core.ingestion import IngestionPipeline

        p = IngestionPipeline(transformations=[e], vector_store=store, disable_cache=True)
        await p.arun(nodes=[TextNode(id_=it.id, text=it.text) for it in texts])
    elif MODE == "pipew":
        from llama_index.core.ingestion import IngestionPipeline

        p = IngestionPipeline(transformations=[e], vector_store=store, disable_cache=True)

        async def addp(batch):
            await p.arun(nodes=[TextNode(id_=it.id, text=it.text) for it in batch])

        await run_workers(texts, addp, size=options.batch_size, workers=options.in_flight)
    elif MODE == "pipe2":
        from llama_index.core.ingestion import IngestionPipeline

        p = IngestionPipeline(transformations=[e], vector_store=store, disable_cache=True)

        async def addp(batch):
            await p.arun(nodes=[TextNode(id_=it.id, text=it.text) for it in batch])

        await run_workers(texts, addp, size=options.batch_size * options.in_flight, workers=1)
    seconds = time.perf_counter() - start
    rows = await count_rows(a, name)
    await store.close()
    return Measured(round(seconds, 2), rows, peak_rss_mb(), import_rss_mb)


if __name__ == "__main__":
    import_rss = rss_mb()
    opts = read_options(__doc__ or "")
    asyncio.run(embed(opts, read_texts(opts.texts), import_rss)).print()
