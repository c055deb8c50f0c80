"""LlamaIndex' retriever over PGVectorStore behind FastAPI: the nearest ten, with their texts.

Tuned: see :func:`serving.open_engine`, without which its `ivfflat_probes` fails with asyncpg and
the planner may not take the index; AUTOCOMMIT; ``use_halfvec``. The metadata of a row are those
that the library itself writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import serving
from fastapi import FastAPI, Request
from harness import drop_table, with_driver
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.vector_stores.postgres import PGVectorStore
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine

TEMPLATE_ID = "template"


def open_store(options: serving.Options, engine: AsyncEngine, *, setup: bool) -> PGVectorStore:
    """The table's store."""
    return PGVectorStore(
        table_name=options.table,
        embed_dim=options.dimensions,
        use_halfvec=True,
        perform_setup=setup,
        initialization_fail_on_error=True,
        engine=create_engine(with_driver(options.database_url, "psycopg2")),
        async_engine=engine,
    )


async def prepare(options: serving.Options) -> None:
    """A table of the peer's own making, with one row whose metadata are to be taken for all."""
    engine = serving.open_engine(options)
    await drop_table(engine, f"data_{options.table}")
    store = open_store(options, engine, setup=True)
    node = TextNode(id_=TEMPLATE_ID, text="", embedding=[1.0] * options.dimensions)
    await store.async_add([node])
    await store.close()


def make_app(options: serving.Options) -> FastAPI:
    """The service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = serving.open_engine(options, isolation_level="AUTOCOMMIT")
        store = open_store(options, engine, setup=False)
        index = VectorStoreIndex.from_vector_store(
            store, embed_model=MockEmbedding(embed_dim=options.dimensions)  # never asked
        )  # fmt: skip
        app.state.retriever = index.as_retriever(similarity_top_k=10)
        yield
        await store.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/retrieve")
    async def retrieve(request: Request, asked: serving.Asked) -> dict[str, object]:
        retriever: BaseRetriever = request.app.state.retriever
        found = await retriever.aretrieve(QueryBundle("", embedding=asked.vector))
        return {
            "hits": [
                {"id": hit.node_id, "text": hit.text, "score": hit.score} for hit in found
            ]
        }  # fmt: skip

    return app


if __name__ == "__main__":
    given = serving.read_options("LlamaIndex' retrieval.")
    if given.prepare:
        asyncio.run(prepare(given))
    else:
        serving.run(make_app(given), given)
