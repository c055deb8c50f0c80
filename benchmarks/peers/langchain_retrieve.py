"""LangChain's PGVectorStore behind FastAPI: the nearest ten, with their texts.

Tuned: see :func:`serving.open_engine`; AUTOCOMMIT saves a transaction's BEGIN and ROLLBACK; no
metadata column; the column altered to ``halfvec`` by hand, as ours is. The store fetches the
vectors of its hits, too, and offers no way around that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import serving
from fastapi import FastAPI, Request
from harness import drop_table
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_postgres import Column, PGEngine, PGVectorStore


async def prepare(options: serving.Options) -> None:
    """An empty table of the peer's own making."""
    engine = serving.open_engine(options)
    await drop_table(engine, options.table)
    await PGEngine.from_engine(engine).ainit_vectorstore_table(
        options.table,
        options.dimensions,
        id_column=Column("langchain_id", "TEXT", nullable=False),
        store_metadata=False,
    )
    await engine.dispose()


def make_app(options: serving.Options) -> FastAPI:
    """The service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = serving.open_engine(options, isolation_level="AUTOCOMMIT")
        app.state.store = await PGVectorStore.create(
            engine=PGEngine.from_engine(engine),
            embedding_service=DeterministicFakeEmbedding(size=options.dimensions),  # never asked
            table_name=options.table,
        )
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/retrieve")
    async def retrieve(request: Request, asked: serving.Asked) -> dict[str, object]:
        store: PGVectorStore = request.app.state.store
        found = await store.asimilarity_search_with_score_by_vector(asked.vector, k=asked.top_k)
        return {
            "hits": [
                {"id": document.id, "text": document.page_content, "score": 1 - distance}
                for document, distance in found
            ]
        }

    return app


if __name__ == "__main__":
    given = serving.read_options("LangChain's retrieval.")
    if given.prepare:
        asyncio.run(prepare(given))
    else:
        serving.run(make_app(given), given)
