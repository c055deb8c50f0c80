"""Obtaining texts again and again in one run: what is known, refused or another's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.embedding.batching import text_hash
from rag_assets.embedding.purchase import open_purchaser
from rag_assets.embedding.sql.purchases import LedgerKey
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import Corpus
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import make_ready
from rag_assets_tests.embedding.shop import texts_of
from rag_assets_tests.vectors.vectors import count_rows, space_of


def obtain(
    database: Database,
    settings: Settings,
    *windows: Sequence[str],
    corpus: Corpus = "documents",
    overwrite: bool = False,
) -> tuple[list[set[bytes]], list[int]]:
    """Obtain window after window; what each bought, and how many it was told to want."""
    wanted: list[int] = []

    async def work() -> list[set[bytes]]:
        with database.connect(autocommit=True) as session:
            async with open_purchaser(
                database,
                session,
                settings,
                space=space_of(database, settings),
                ledger_key=LedgerKey("run", corpus, "lane"),
                progress=Silent(),
                overwrite=overwrite,
            ) as purchaser:
                return [
                    set(await purchaser.obtain(texts_of(window), wanted=wanted.append))
                    for window in windows
                ]

    return asyncio.run(work()), wanted


def hashes(*texts: str) -> set[bytes]:
    return {text_hash(text) for text in texts}


def test_each_window_buys_only_what_is_new(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    bought, wanted = obtain(database, openai_settings(), ["a", "b", "a"], ["b", "c"], [], ["c"])
    assert bought == [hashes("a", "b"), hashes("c"), set(), set()]
    assert wanted == [2, 1, 0, 0]
    assert emulator.stats().inputs_answered == 3
    assert count_rows(database, "embedding_claims") == 0


def test_a_refused_text_is_not_asked_for_again_in_the_same_run(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.POISON, text="bad"))
    bought, _ = obtain(database, openai_settings(), ["bad", "good"], ["bad", "other"])
    assert bought == [hashes("good"), hashes("other")]
    asked = emulator.stats().requests
    obtain(database, openai_settings(), ["bad"])
    assert (asked, emulator.stats().requests) == (4, 5)


def test_what_documents_have_published_is_known_to_documents(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    settings = openai_settings()
    make_ready(database, space_of(database, settings), "a", ["known"])
    bought, _ = obtain(database, settings, ["known", "new"])
    assert bought == [hashes("new")]
    bought, _ = obtain(database, settings, ["known"], overwrite=True)
    assert bought == [hashes("known")]


def test_the_ledger_names_the_corpus(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    obtain(database, openai_settings(), ["a", "b"])
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT run_id, corpus, partition_key, inputs FROM embedding_ledger"
        ).fetchall()
    assert rows == [("run", "documents", "lane", 2)]
