"""Embedding a version against the real database and the emulator."""

from __future__ import annotations

from rag_assets.embedding.verses import EmbedOptions, embed_version
from rag_assets.store.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences
from rag_assets_tests.openai_emulator.process import Emulator


def test_every_verse_gets_a_vector_and_is_bought_once(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, "EN_TEST", [*sentences(100), *sentences(20)])
    report = embed_version(
        database, openai_settings(), "EN_TEST", EmbedOptions(), "small", run_id="one"
    )
    assert (report.embedded, report.reused, report.rejected) == (100, 20, ())
    stats = emulator.stats()
    assert stats.duplicate_answers == 0
    assert stats.inputs_answered == 100
