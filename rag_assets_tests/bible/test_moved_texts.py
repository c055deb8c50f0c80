"""Texts that move from verse to verse keep their vectors: nothing of them is bought again."""

from __future__ import annotations

import pytest

from openai_emulator.process import Emulator
from rag_assets.bible.embed_verses import EmbedOptions, SpaceReport
from rag_assets.bible.embed_versions import embed_spaces
from rag_assets.bible.quality import version_quality
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences
from rag_assets_tests.vectors.vectors import count_rows

TEXTS = sentences(12)


@pytest.fixture
def settings(openai_settings: MakeSettings) -> Settings:
    return openai_settings(rag_embedding_small_dimensions=16)


def embedded(database: Database, settings: Settings, texts: list[str]) -> SpaceReport:
    """Load these texts as the version and embed it in the small space."""
    load_version(database, "EN_MOVE", texts)
    options = EmbedOptions(roles=("small",))
    (report,) = embed_spaces(database, settings, "EN_MOVE", options, run_id=str(len(texts)))
    return report


@pytest.mark.parametrize(
    ("texts", "bought"),
    [
        (["In another beginning", *TEXTS], 1),
        (["In another beginning", *TEXTS[:-1]], 1),
        ([*TEXTS[:5], "And one between", "And another", *TEXTS[5:]], 2),
        (TEXTS[1:], 0),
        (TEXTS[::-1], 0),
        ([TEXTS[1], TEXTS[0], *TEXTS[2:]], 0),
        ([*TEXTS[1:], TEXTS[0]], 0),
        ([TEXTS[0], TEXTS[0], "New", *TEXTS[1:]], 1),
    ],
    ids=[
        "one before all",
        "one before all and the last gone",
        "two in between",
        "the first gone",
        "turned round",
        "two swapped",
        "the first to the end",
        "one doubled",
    ],
)
def test_only_new_texts_are_bought_and_every_verse_has_the_vector_of_its_text(
    database: Database, settings: Settings, emulator: Emulator, texts: list[str], bought: int
) -> None:
    embedded(database, settings, TEXTS)
    before = emulator.stats().inputs_answered
    report = embedded(database, settings, texts)
    assert (report.rows, report.rejected) == (len(texts), ())
    assert emulator.stats().inputs_answered - before == bought
    with database.connect() as connection:
        (judged,) = version_quality(connection, settings, "EN_MOVE")
        wrong = connection.execute(
            """
            SELECT count(*) FROM verse_embeddings_s1 e JOIN verses v USING (verse_id)
             WHERE e.text_hash <> v.text_hash
            """
        ).fetchone()
    assert (judged.counts.missing, judged.counts.stale, wrong) == (0, 0, (0,))
    once_more = embedded(database, settings, texts)
    assert (once_more.stale, once_more.requests) == (0, 0)


def test_the_vectors_that_moved_are_those_of_their_texts(
    database: Database, settings: Settings
) -> None:
    embedded(database, settings, TEXTS)
    look = (
        "SELECT v.text, e.embedding::text FROM verses v JOIN verse_embeddings_s1 e"
        " USING (verse_id) ORDER BY v.text"
    )
    with database.connect() as connection:
        before = dict(connection.execute(look).fetchall())
    embedded(database, settings, ["In another beginning", *TEXTS])
    with database.connect() as connection:
        after = dict(connection.execute(look).fetchall())
    assert {text: after[text] for text in TEXTS} == before
    assert count_rows(database, "answered_texts_s1") == 0
