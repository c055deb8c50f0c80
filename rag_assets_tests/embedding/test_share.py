"""A share of batch size and concurrency: what goes to the provider while it limits the rate."""

from __future__ import annotations

import time
from threading import Thread

import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.documents.sql.lanes import provider_shares, set_share
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.embedding.shop import Shop


def share(database: Database, value: float) -> None:
    """What the recovery sets."""
    with database.connect() as connection:
        (endpoint,) = [one.endpoint for one in provider_shares(connection)]
        set_share(connection, endpoint, value)


@pytest.fixture
def shop(database: Database, openai_settings: MakeSettings) -> Shop:
    shop = Shop(database, openai_settings(rag_embedding_batch_size=10, rag_embedding_concurrency=4))
    shop.buy(sentences(1))  # from now on the provider has its row
    return shop


@pytest.mark.parametrize(
    ("value", "requests", "in_flight"), [(1.0, 4, 4), (0.5, 8, 2), (0.25, 20, 1), (0.01, 40, 1)]
)
def test_requests_are_as_large_and_as_many_at_once_as_the_share_allows(
    shop: Shop, emulator: Emulator, value: float, requests: int, in_flight: int
) -> None:
    emulator.reset()
    emulator.order(Fault(FaultKind.LATENCY, latency_ms=100))
    share(shop.database, value)
    shop.buy([f"{text} again" for text in sentences(40)])
    stats = emulator.stats()
    assert (stats.inputs_answered, stats.duplicate_answers) == (40, 0)
    assert stats.ok == requests
    assert stats.max_in_flight == in_flight


def test_a_run_under_way_follows_the_share_down_and_up(shop: Shop, emulator: Emulator) -> None:
    emulator.reset()
    emulator.order(Fault(FaultKind.LATENCY, latency_ms=60))
    texts = [f"{text} at length" for text in sentences(200)]
    run = Thread(target=shop.buy, args=(texts,))
    run.start()
    while emulator.stats().ok < 3:
        time.sleep(0.01)
    share(shop.database, 0.25)
    time.sleep(0.4)
    before = emulator.stats()
    time.sleep(0.4)
    slow = emulator.stats()
    assert slow.in_flight <= 1
    assert slow.inputs_answered - before.inputs_answered < 40, "2 texts a request, one at a time"
    share(shop.database, 1.0)
    run.join(20)
    stats = emulator.stats()
    assert (stats.inputs_answered, stats.duplicate_answers) == (200, 0)
