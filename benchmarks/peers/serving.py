"""What both peers' retrieval scripts share: arguments, the engine, the server.

Runs in ``.venv-peers`` and never imports rag_assets.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from harness import with_driver
from pydantic import BaseModel
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """What the benchmark orders.

    :param probes: lists that a search reads.
    :param prepare: make the table, and serve nothing.
    """

    database_url: URL
    table: str
    dimensions: int
    probes: int
    port: int
    prepare: bool


class Asked(BaseModel):
    """The body of a request."""

    vector: list[float]
    top_k: int = 10


def read_options(description: str) -> Options:
    """The command line's."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--database-url", type=make_url, required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--dimensions", type=int, required=True)
    parser.add_argument("--probes", type=int, default=1)
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--prepare", action="store_true")
    return Options(**vars(parser.parse_args()))


def open_engine(options: Options, **more: object) -> AsyncEngine:
    """As many connections as our service has, each told once how to search.

    Per search, LangChain would send its probes in a statement more, and LlamaIndex with asyncpg in
    one that PostgreSQL refuses (SET takes no parameter).
    """
    return create_async_engine(
        with_driver(options.database_url, "asyncpg"),
        pool_size=CONNECTIONS,
        max_overflow=0,
        connect_args={
            "server_settings": {
                "ivfflat.probes": str(options.probes),
                # The planner may otherwise scan and sort, by its estimate of the cost.
                "enable_seqscan": "off",
                "enable_sort": "off",
            }
        },
        **more,
    )


def run(app: FastAPI, options: Options) -> None:
    """As fast as uvicorn goes, and without a log line a request."""
    uvicorn.run(
        app, port=options.port, loop="uvloop", http="httptools", access_log=False,
        log_level="warning",
    )  # fmt: skip
