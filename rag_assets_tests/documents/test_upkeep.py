"""Deleting expired data."""

from __future__ import annotations

from openai_emulator.faults import Fault, FaultKind
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.documents.upkeep import Deleted, delete_expired
from rag_assets_tests.documents.lane import Lane, markdown


def test_withdrawn_documents_and_unused_answers_expire(lane: Lane) -> None:
    lane.drop(stays=markdown("river"), goes=markdown("hill"), refused=markdown("sea", "poison"))
    lane.emulator.order(Fault(FaultKind.POISON, text="poison"))
    lane.process()
    key = lane.key("goes")
    with lane.database.connect() as connection:
        withdraw(connection, [key], by="inbox")
    assert delete_expired(lane.database, lane.settings) == Deleted((), 0)
    now = lane.settings.model_copy(update={"rag_documents_keep_days": 0})
    assert delete_expired(lane.database, now) == Deleted((key,), 1)
    assert lane.sql("SELECT count(*) FROM answered_texts_s1") == [(0,)]
    assert lane.states() == {"stays": "ready", "refused": "dead"}
