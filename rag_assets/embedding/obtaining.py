"""Have texts bought that nobody has bought yet, and wait for those that another run is buying.

Which texts are wanted, and what is done with their vectors, is the callers'.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from rag_assets.embedding.batching import Text
from rag_assets.embedding.buying import Buyer, BuyingOptions, Purchase
from rag_assets.embedding.embedder import Embedder
from rag_assets.embedding.providers.offline import OfflineEmbedder
from rag_assets.embedding.sql import purchases
from rag_assets.embedding.sql.purchases import LedgerKey
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space

_POLL_S = 0.5  # while another run buys a text that this one needs, too


def check_key(settings: Settings, provider: str | None = None) -> None:
    """Refuse to start without the key that the provider needs; never turn to the offline one.

    :raises ConfigurationError: OpenAI is asked for and there is no key.
    """
    wanted = provider or settings.rag_embedding_provider
    if wanted != "openai" or settings.api_keys():
        return
    if settings.use_api_key_rotation:
        raise ConfigurationError(
            "USE_API_KEY_ROTATION is true but OPENAI_API_KEYS is empty: list the keys there"
        )
    raise ConfigurationError(
        "no OPENAI_API_KEY: set it in the environment or in .env, or set "
        "RAG_EMBEDDING_PROVIDER=offline for the lexical embedder that needs none"
    )


def open_embedder(
    settings: Settings, *, provider: str | None = None, timeout_s: float | None = None
) -> AbstractAsyncContextManager[Embedder]:
    """The embedder that the settings ask for.

    :param provider: another one: that of a space which the settings no longer name.
    :raises ConfigurationError: OpenAI is asked for and there is no key.
    """
    if (provider or settings.rag_embedding_provider) == "offline":
        return nullcontext(OfflineEmbedder())
    check_key(settings, provider)
    # Late: importing openai takes half a second that most commands need not wait for.
    from rag_assets.embedding.providers.openai_client import OpenAIEmbedder  # noqa: PLC0415

    return OpenAIEmbedder(
        base_url=settings.openai_base_url,
        keys=settings.api_keys(),
        timeout_s=timeout_s or settings.rag_embedding_timeout_s,
        send_dimensions=settings.rag_embedding_send_dimensions,
    )


class Obtainer:
    """Obtains texts for one space in one run, as often as it is asked.

    :param session: an autocommitting connection that owns this run's claims.
    :param overwrite: what is published does not count as bought.
    :param wanted: told, before buying begins, how many texts there are to buy.
    """

    def __init__(
        self,
        database: Database,
        session: Connection,
        embedder: Embedder,
        *,
        space: Space,
        options: BuyingOptions,
        ledger_key: LedgerKey,
        owner: int,
        overwrite: bool,
        progress: Progress,
    ) -> None:
        self._database = database
        self._session = session
        self._space = space
        self._corpus = ledger_key.corpus
        self._owner = owner
        self._overwrite = overwrite
        self._buyer = Buyer(
            embedder=embedder,
            space=space,
            options=options,
            ledger_key=ledger_key,
            claim=self._claim_in_thread,
            advance=progress.advance,
            warn=progress.say,
        )

    @property
    def space(self) -> Space:
        """Where the vectors belong."""
        return self._space

    @property
    def purchase(self) -> Purchase:
        """What was bought so far, in all; the refused texts are in it."""
        return self._buyer.purchase

    async def obtain(
        self, texts: Sequence[Text], *, wanted: Callable[[int], None] | None = None
    ) -> frozenset[bytes]:
        """See to it that each text is bought or refused; the hashes of those bought here and now.

        A text that was refused before is not asked for again.

        :raises RagAssetsError: the provider's errors; what was bought until then is kept.
        """
        buyer, by_hash = self._buyer, {text.hash: text for text in texts}
        buyer.claimed.clear()
        pending = self._not_bought([key for key in by_hash if key not in buyer.purchase.rejected])
        if wanted:
            wanted(len(pending))
        while pending:
            await buyer.buy(self._database, [by_hash[key] for key in pending])
            pending = [key for key in pending if key not in buyer.claimed]
            # What was claimed is bought or refused by now. A claim kept on a refused text would
            # let two runs wait for each other for ever.
            purchases.drop_claims(self._session, self._owner)
            if pending:
                await asyncio.sleep(_POLL_S)
                purchases.drop_dead_claims(self._session, self._space, pending)
                pending = self._not_bought(pending)
        return frozenset(buyer.claimed - buyer.purchase.rejected.keys())

    def _claim(self, hashes: Sequence[bytes]) -> set[bytes]:
        mine = purchases.claim(self._session, self._space, hashes, self._owner)
        # Another run may have kept its answers and given up its claims in between.
        return set(self._not_bought(list(mine)))

    async def _claim_in_thread(self, hashes: Sequence[bytes]) -> set[bytes]:
        return await asyncio.to_thread(self._claim, hashes)

    def _not_bought(self, hashes: Sequence[bytes]) -> list[bytes]:
        return purchases.not_bought(
            self._session,
            self._space,
            hashes,
            published_counts=not self._overwrite,
            corpus=self._corpus,
        )


@asynccontextmanager
async def obtaining(
    database: Database,
    session: Connection,
    settings: Settings,
    *,
    space: Space,
    ledger_key: LedgerKey,
    progress: Progress,
    options: BuyingOptions | None = None,
    timeout_s: float | None = None,
    overwrite: bool = False,
) -> AsyncIterator[Obtainer]:
    """An obtainer for as long as the block; its claims end with it.

    :raises ConfigurationError: OpenAI is asked for and there is no key.
    """
    owner = purchases.new_owner(session)
    try:
        async with open_embedder(settings, timeout_s=timeout_s) as embedder:
            yield Obtainer(
                database,
                session,
                embedder,
                space=space,
                options=options or BuyingOptions.from_settings(settings),
                ledger_key=ledger_key,
                owner=owner,
                overwrite=overwrite,
                progress=progress,
            )
    finally:
        if not session.closed:
            purchases.release_claims(session, owner)
