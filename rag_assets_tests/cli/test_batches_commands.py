"""``rag-assets bible embed --requests batch`` and ``rag-assets batches``."""

from __future__ import annotations

import pytest

from openai_emulator.process import Emulator
from rag_assets.postgres.database import Database, one
from rag_assets_tests.cli.conftest import Done, Run

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def test_batches_are_planned_begun_listed_cancelled_and_given_up(
    run: Run, emulator: Emulator, database: Database
) -> None:
    def go(*arguments: str) -> Done:
        return run(*arguments, RAG_EMBEDDING_PROVIDER="openai", OPENAI_API_KEY="sk-test-one",
                   OPENAI_BASE_URL=emulator.base_url)  # fmt: skip

    emulator.batches(seconds=3600)
    (planned,) = go("bible", "plan", "EN_SAMPLE", "--json").json[:1]
    assert planned["batch_cost_usd"] == pytest.approx(planned["cost_usd"] / 2)
    assert planned["batch_hours"] == 24
    begun = go("bible", "embed", "EN_SAMPLE", "--requests", "batch")
    assert begun.status == 0, begun.err
    assert "EN_SAMPLE: 502 texts in batches at the provider, due " in begun.out
    listed = go("batches", "list", "--json").json
    assert [(one["batch_id"], one["state"]) for one in listed] == [
        (2, "submitted"),
        (1, "submitted"),
    ]
    assert "batch 1 is cancelled" in go("batches", "cancel", "1").out
    assert "251 texts can be requested again" in go("batches", "give-up", "2", "--yes").out
    again = go("batches", "give-up", "2", "--yes")
    assert (again.status, again.err) == (1, "error: batch 2 is given up already\n")
    assert "there is no batch 9" in go("batches", "cancel", "9").err
    with database.connect() as connection:
        reserved = one(connection.execute("SELECT count(*) FROM embedding_batch_texts"))
    assert reserved == (251,)
