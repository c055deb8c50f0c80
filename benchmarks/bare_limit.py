"""The least that the job takes: the requests and a binary COPY, nothing else.

No hashing, no retries, no limits, no ledger, no audit, no index but the primary key.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time

import httpx
import numpy as np
import psycopg

from rag_assets.vectors.binary_copy import hashed_vectors

MODEL, DIMENSIONS = "text-embedding-3-small", 1536


def run(
    conninfo: str, base_url: str, texts: list[str], *, in_flight: int, batch_size: int
) -> float:
    """Seconds from the first request to the commit."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bare_limit")
        connection.execute(
            f"CREATE TABLE bare_limit (text_hash bytea, embedding halfvec({DIMENSIONS}))"
        )
        connection.execute("ALTER TABLE bare_limit ALTER COLUMN embedding SET STORAGE PLAIN")
    started = time.perf_counter()
    asyncio.run(_embed(conninfo, base_url, texts, in_flight, batch_size))
    seconds = time.perf_counter() - started
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM bare_limit").fetchone()
        assert row is not None
        assert row[0] == len(texts)
    return seconds


async def _embed(
    conninfo: str, base_url: str, texts: list[str], in_flight: int, batch_size: int
) -> None:
    batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
    waiting = iter(batches)
    copying = asyncio.Lock()
    async with (
        httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": "Bearer sk-test-bare"}, timeout=60
        ) as client,
        await psycopg.AsyncConnection.connect(conninfo) as connection,
    ):

        async def work() -> None:
            for batch in waiting:
                vectors = await _ask(client, batch)
                async with copying, connection.cursor() as cursor:
                    command = "COPY bare_limit FROM STDIN (FORMAT BINARY)"
                    async with cursor.copy(command) as copy:
                        hashes = [bytes(32)] * len(batch)
                        await copy.write(hashed_vectors(hashes, vectors, "halfvec"))

        await asyncio.gather(*(work() for _ in range(in_flight)))


async def _ask(client: httpx.AsyncClient, batch: list[str]) -> np.ndarray:
    response = await client.post(
        "/embeddings",
        json=(
            {
                "model": MODEL,
                "input": batch,
                "dimensions": DIMENSIONS,
                "encoding_format": "base64",
            }
        ),
    )
    items = json.loads(response.raise_for_status().content)["data"]
    raw = b"".join(base64.b64decode(item["embedding"]) for item in items)
    return np.frombuffer(raw, dtype="<f4").reshape(len(batch), DIMENSIONS)
