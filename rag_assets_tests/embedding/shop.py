"""A purchaser with real parts: database, emulator, and a sleep that does not take long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from rag_assets.embedding.batching import Text, text_hash
from rag_assets.embedding.embedder import Embedder
from rag_assets.embedding.purchase import open_purchaser
from rag_assets.embedding.requests import Purchase
from rag_assets.embedding.sql.purchases import LedgerKey
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space, register_space

RUN = LedgerKey("run", "bible", "EN_TEST")
LONGEST_SLEEP_S = 0.3


def texts_of(sentences: Sequence[str]) -> list[Text]:
    """With their hashes."""
    return [Text(text_hash(sentence), sentence) for sentence in sentences]


@dataclass
class Shop:
    """Buys texts for the small space, and remembers what was said and slept.

    Waits of up to 0.3 s are really waited, because rests are kept by the database's clock; longer
    ones, the backoffs among them, are only noted.
    """

    database: Database
    settings: Settings
    embedder: Embedder | None = None
    warnings: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    advanced: int = 0
    purchase: Purchase = field(default_factory=Purchase)

    def space(self) -> Space:
        """The small space, registered."""
        with self.database.connect() as connection:
            return register_space(connection, self.settings, "small")

    def buy(self, sentences: Sequence[str]) -> Purchase:
        """Buy all; what was counted stays in ``purchase`` when it raises, too."""
        return asyncio.run(self.obtain(sentences))

    async def obtain(self, sentences: Sequence[str]) -> Purchase:
        """The same in the caller's event loop."""
        with self.database.connect(autocommit=True) as session:
            async with open_purchaser(
                self.database,
                session,
                self.settings,
                space=self.space(),
                ledger_key=RUN,
                progress=self,
                embedder=self.embedder,
                sleep=self._sleep,
            ) as purchaser:
                self.purchase = purchaser.purchase
                await purchaser.obtain(texts_of(sentences))
                return self.purchase

    def start(self, task: str, total: int) -> None: ...

    def advance(self, steps: int) -> None:
        self.advanced += steps

    def say(self, message: str) -> None:
        self.warnings.append(message)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds if seconds <= LONGEST_SLEEP_S else 0)

    def kept(self) -> set[bytes]:
        """Hashes of the answers that are kept."""
        with self.database.connect() as connection:
            rows = connection.execute("SELECT text_hash FROM answered_texts_s1").fetchall()
        hashes = [bytes(row[0]) for row in rows]
        assert len(hashes) == len(set(hashes)), "an answer is kept twice"
        return set(hashes)

    def ledger(self) -> dict[str, tuple[int, ...]]:
        """By key: requests, retries, 429s, inputs, tokens."""
        with self.database.connect() as connection:
            rows = connection.execute(
                "SELECT key_fingerprint, requests, retries, rate_limited, inputs, tokens"
                " FROM embedding_ledger"
            ).fetchall()
        return {row[0]: tuple(row[1:]) for row in rows}
