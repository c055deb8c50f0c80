"""Claims, kept answers and the ledger."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np
import psycopg
import pytest

from rag_assets.embedding.batching import text_hash
from rag_assets.embedding.sql import purchases
from rag_assets.embedding.sql.purchases import LedgerEntry, LedgerKey
from rag_assets.postgres.database import Database
from rag_assets.vectors.sql.spaces import Space
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.vectors.vectors import count_rows, space_of, unit_vectors

HASHES = [text_hash(text) for text in sentences(200)]
KEY = LedgerKey("run", "bible", "EN_TEST")


@pytest.fixture
def space(database: Database, make_settings: MakeSettings) -> Space:
    return space_of(database, make_settings())


def keep(
    database: Database, space: Space, hashes: list[bytes], vectors: np.ndarray, entry: LedgerEntry
) -> None:
    async def go() -> None:
        async with database.connect_async() as connection:
            await purchases.keep_answers(connection, space, hashes, vectors, KEY, entry)

    asyncio.run(go())


def test_claimers_at_once_share_the_texts_without_overlap(database: Database, space: Space) -> None:
    def claim(turn: int) -> set[bytes]:
        order = HASHES if turn % 2 else HASHES[::-1]
        with database.connect(autocommit=True) as connection:
            owner = purchases.new_owner(connection)
            return purchases.claim(connection, space, order, owner)

    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(claim, range(6)))
    assert sum(len(found) for found in claimed) == len(HASHES)
    assert set().union(*claimed) == set(HASHES)


def test_a_living_owner_keeps_its_claims_and_a_dead_one_loses_them_at_once(
    database: Database, space: Space
) -> None:
    with database.connect(autocommit=True) as other:
        with database.connect(autocommit=True) as first:
            owner = purchases.new_owner(first)
            assert purchases.claim(first, space, HASHES, owner) == set(HASHES)
            purchases.drop_dead_claims(other, space, HASHES)
            mine = purchases.new_owner(other)
            assert purchases.claim(other, space, HASHES, mine) == set()
        # The session is over and nothing was given back: as after kill -9. The server notices a
        # closed connection within milliseconds, but not in this one's order.
        taken: set[bytes] = set()
        deadline = time.monotonic() + 10
        while not taken and time.monotonic() < deadline:
            purchases.drop_dead_claims(other, space, HASHES[:1])
            taken = purchases.claim(other, space, HASHES, mine)
        assert taken == set(HASHES)
        purchases.release_claims(other, mine)
    assert count_rows(database, "embedding_claims") == 0


def test_claims_of_two_spaces_are_apart(
    database: Database, space: Space, make_settings: MakeSettings
) -> None:
    large = space_of(database, make_settings(), "large")
    with database.connect(autocommit=True) as connection:
        owner = purchases.new_owner(connection)
        assert len(purchases.claim(connection, space, HASHES, owner)) == 200
        assert len(purchases.claim(connection, large, HASHES, owner)) == 200


def test_all_claims_of_the_dead_are_removed_and_those_of_the_living_stay(
    database: Database, space: Space
) -> None:
    with database.connect(autocommit=True) as living:
        mine = purchases.new_owner(living)
        purchases.claim(living, space, HASHES[:1], mine)
        with psycopg.connect(database.conninfo, autocommit=True) as dying:
            for some in (HASHES[1:2], HASHES[2:3]):
                purchases.claim(dying, space, some, purchases.new_owner(dying))
        with database.connect(autocommit=True) as other:
            for _ in range(2000):  # the server notices the end a little later
                purchases.drop_all_dead_claims(other)
                if count_rows(database, "embedding_claims") == 1:
                    break
        assert purchases.claim(living, space, HASHES, mine) == set(HASHES[1:])


def test_what_is_kept_is_without_answer_again_and_the_order_stays(
    database: Database, space: Space
) -> None:
    kept = HASHES[50:100]
    keep(database, space, kept, unit_vectors(50, space), LedgerEntry("k", requests=1))
    with database.connect() as connection:
        left = purchases.without_answer(connection, space, HASHES[::-1], published_counts=True)
        assert purchases.without_answer(connection, space, [], published_counts=True) == []
    assert left == [key for key in HASHES[::-1] if key not in set(kept)]


def test_an_answer_and_its_cost_are_kept_together_or_not_at_all(
    database: Database, space: Space
) -> None:
    narrow = np.ones((2, 7), dtype=np.float32)
    with pytest.raises(psycopg.DataError, match="expected 1536 dimensions, not 7"):
        keep(database, space, HASHES[:2], narrow, LedgerEntry("k", requests=1, tokens=9))
    assert count_rows(database, space.answers_table.as_string().strip('"')) == 0
    assert count_rows(database, "embedding_ledger") == 0


def test_the_ledger_adds_up_by_run_partition_space_and_key(
    database: Database, space: Space
) -> None:
    entry = LedgerEntry(
        "k1", requests=1, retries=2, rate_limited=3, inputs=4, input_bytes=5, tokens=6, cost_usd=0.5
    )
    none = np.zeros((0, space.spec.dimensions), dtype=np.float32)
    for _ in range(2):
        keep(database, space, [], none, entry)
    keep(database, space, [], none, LedgerEntry("k2", requests=1))
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT run_id, corpus, partition_key, space_id, key_fingerprint, requests, retries,"
            " rate_limited, inputs, input_bytes, tokens, cost_usd FROM embedding_ledger"
            " ORDER BY key_fingerprint"
        ).fetchall()
    where = ("run", "bible", "EN_TEST", space.space_id)
    assert rows == [
        (*where, "k1", 2, 4, 6, 8, 10, 12, Decimal(1)),
        (*where, "k2", 1, 0, 0, 0, 0, 0, Decimal(0)),
    ]


def test_tokens_a_byte_are_learnt_from_the_ledger_of_the_same_space(
    database: Database, space: Space, make_settings: MakeSettings
) -> None:
    large = space_of(database, make_settings(), "large")
    none = np.zeros((0, space.spec.dimensions), dtype=np.float32)
    with database.connect() as connection:
        assert purchases.tokens_per_byte(connection, None) is None
        assert purchases.tokens_per_byte(connection, space) is None
    keep(database, space, [], none, LedgerEntry("k1", input_bytes=300, tokens=100))
    keep(database, space, [], none, LedgerEntry("k2", input_bytes=100, tokens=40))
    with database.connect() as connection:
        assert purchases.tokens_per_byte(connection, space) == pytest.approx(0.35)
        assert purchases.tokens_per_byte(connection, large) is None
