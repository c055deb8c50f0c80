"""Prices of tokens. An unknown price makes an unknown cost, which is ``None`` and never 0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal
from urllib.parse import urlsplit

from rag_assets.settings.loopback import is_loopback
from rag_assets.settings.model import Settings

_KNOWN = {
    "text-embedding-3-small": 0.02,
    "text-embedding-3-large": 0.13,
    "text-embedding-ada-002": 0.10,
}
"""Dollars per million tokens, by OpenAI's price list."""
BATCH_PRICE = 0.5
"""What a token costs in a batch, of its price (OpenAI's price list)."""
BATCH_HOURS = 24
"""Within which a batch is answered, or ends with what is answered."""


def usd_per_million_tokens(settings: Settings, role: Literal["small", "large"]) -> float | None:
    """The price of a role's model; what runs on this machine is free.

    A model of OpenAI's behind an address of this machine has its price: that is a gateway.
    """
    if not settings.needs_key():
        return 0.0
    small = role == "small"
    configured = (
        settings.rag_embedding_small_usd_per_million_tokens
        if small
        else settings.rag_embedding_large_usd_per_million_tokens
    )
    model = settings.rag_embedding_small_model if small else settings.rag_embedding_large_model
    if configured is not None:
        return configured
    known = _KNOWN.get(model.rpartition("/")[2])
    if known is None and is_loopback(urlsplit(settings.openai_base_url).hostname or ""):
        return 0.0
    return known


def price_setting(role: Literal["small", "large"]) -> str:
    """The setting for a role's price."""
    return f"RAG_EMBEDDING_{role.upper()}_USD_PER_MILLION_TOKENS"


def missing_prices(
    settings: Settings, roles: Sequence[Literal["small", "large"]]
) -> tuple[str, ...]:
    """The price settings for those of these roles whose price is unknown."""
    return tuple(
        price_setting(role) for role in roles if usd_per_million_tokens(settings, role) is None
    )


def planned_cost(
    settings: Settings, roles: Sequence[Literal["small", "large"]], cost: float | None
) -> str:
    """For people, in a plan: dollars, or that the provider costs nothing."""
    free = all(usd_per_million_tokens(settings, role) == 0 for role in roles)
    return "which cost nothing" if free else dollars(cost)


def cost_of(tokens: int, usd_per_million: float | None, *, share: float = 1.0) -> float | None:
    """The cost in dollars; 0 tokens cost 0 even if the price is unknown.

    :param share: of the price that is paid, such as :data:`BATCH_PRICE`.
    """
    if not tokens:
        return 0.0
    return None if usd_per_million is None else tokens * usd_per_million * share / 1e6


def together(costs: Iterable[float | None]) -> float | None:
    """The sum of the costs; unknown if one of them is."""
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def amount(cost: float | None) -> str:
    """Format for a column of dollars: ``0.0012``, or ``unknown``."""
    return "unknown" if cost is None else f"{cost:.4f}"


def dollars(cost: float | None) -> str:
    """Format for a sentence: ``$0.0012``, or ``unknown``."""
    return "unknown" if cost is None else f"${amount(cost)}"
