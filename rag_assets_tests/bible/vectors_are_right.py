"""Whether each verse has the vector that the provider gives for its very text."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import numpy as np

from openai_emulator.process import Emulator
from rag_assets.postgres.database import Database


def assert_vectors_are_right(database: Database, emulator: Emulator, code: str) -> None:
    """Every verse of the version has one, near to a cosine of 1 with the provider's own."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT v.text, e.embedding::text FROM verses v"
            " LEFT JOIN verse_embeddings_s1 e USING (verse_id) WHERE v.version_code = %s",
            (code,),
        ).fetchall()
    assert rows
    missing = [row[0] for row in rows if row[1] is None]
    assert missing == []
    stored = np.array([np.fromstring(row[1][1:-1], sep=",") for row in rows])
    given = np.array(_ask(emulator, [row[0] for row in rows]))
    cosines = np.sum(stored * given, axis=1)
    assert cosines.min() > 0.999, rows[int(cosines.argmin())][0]


def _ask(emulator: Emulator, texts: Sequence[str]) -> list[list[float]]:
    answer = httpx.post(
        f"{emulator.base_url}/embeddings",
        json={"model": "text-embedding-3-small", "input": list(texts)},
        headers={"Authorization": "Bearer sk-test-one"},
        trust_env=False,
        timeout=30,
    ).raise_for_status()
    return [item["embedding"] for item in answer.json()["data"]]
