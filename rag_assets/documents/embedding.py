"""Vectors for prepared documents: several together, for one request holds texts of many."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag_assets.documents.extraction import Failed, Prepared
from rag_assets.documents.sql.queue import Claimed
from rag_assets.embedding.purchase import Purchaser
from rag_assets.errors import BudgetExceededError, InputRejectedError
from rag_assets.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Embedded:
    """A prepared document whose vectors are all bought or known.

    :param embedded: its chunks whose vectors of the small space were bought now.
    :param cost_usd: of those, and of the large space's.
    """

    prepared: Prepared
    embedded: int
    cost_usd: float

    @property
    def claimed(self) -> Claimed:
        """The document, as it was claimed."""
        return self.prepared.claimed


async def embed(
    purchasers: Sequence[Purchaser], window: Sequence[Prepared], settings: Settings
) -> list[Embedded | Failed]:
    """Have the texts of these documents bought; each of them, in order.

    One with a text that the provider refuses has failed.

    :param purchasers: one a space, the small one first.
    :raises BudgetExceededError: the run has cost all that it may.
    :raises RagAssetsError: the provider's errors; what was bought until then is kept.
    """
    _check_budget(purchasers, settings)
    started = time.monotonic()
    texts = [text for prepared in window for text in prepared.texts]
    bought = [set(await purchaser.obtain(texts)) for purchaser in purchasers]
    seconds = time.monotonic() - started
    done: list[Embedded | Failed] = []
    for one in window:
        prepared = replace(one, seconds={**one.seconds, "embed": seconds})
        error = next(filter(None, (_refusal(prepared, each) for each in purchasers)), None)
        if error:
            done.append(Failed(prepared.claimed, error))
        else:
            done.append(_count(prepared, purchasers, bought))
    return done


def _count(
    prepared: Prepared, purchasers: Sequence[Purchaser], bought: Sequence[set[bytes]]
) -> Embedded:
    """A text that several documents have was bought for the first of them."""
    tokens_of = {
        text.hash: chunk.tokens
        for text, chunk in zip(prepared.texts, prepared.document.chunks, strict=True)
    }
    cost_usd, counts = 0.0, []
    for purchaser, fresh in zip(purchasers, bought, strict=True):
        own = fresh & tokens_of.keys()
        fresh.difference_update(own)
        counts.append(len(own))
        tokens = sum(tokens_of[key] for key in own)
        cost_usd += tokens * purchaser.space.usd_per_million_tokens / 1e6
    return Embedded(prepared, counts[0], cost_usd)


def _refusal(prepared: Prepared, purchaser: Purchaser) -> InputRejectedError | None:
    rejected = purchaser.purchase.rejected
    for position, text in enumerate(prepared.texts, start=1):
        if text.hash in rejected:
            page = prepared.document.chunks[position - 1].page
            where = f"passage {position}" + (f" (page {page})" if page is not None else "")
            return InputRejectedError(
                f"{prepared.claimed.path}: the provider refuses {where}: "
                f"{rejected[text.hash][1]}. Change the passage, or leave the document out"
            )
    return None


def _check_budget(purchasers: Sequence[Purchaser], settings: Settings) -> None:
    spent = sum(purchaser.purchase.cost_usd for purchaser in purchasers)
    most = settings.rag_max_run_cost_usd
    if most is not None and spent >= most > 0:
        raise BudgetExceededError(
            f"the run has bought for ${spent:.4f}, and RAG_MAX_RUN_COST_USD is ${most:.4f}: what "
            "was bought is kept, the documents that are left wait for another run"
        )
