"""Queries into vectors, by the embedder of the space that they are searched in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag_assets.embedding.verses import open_embedder
from rag_assets.errors import ConfigurationError
from rag_assets.settings import Settings
from rag_assets.store.spaces import SpaceSpec


def embed_queries(
    settings: Settings, spec: SpaceSpec, queries: Sequence[str]
) -> NDArray[np.float32]:
    """One request for all queries, at most 2,048.

    :returns: float32, shape (n, dimensions).
    :raises ConfigurationError: the provider refuses one of them, or there is no key for it.
    :raises RagAssetsError: the provider's errors.
    """
    return asyncio.run(_embed(settings, spec, queries))


async def _embed(
    settings: Settings, spec: SpaceSpec, queries: Sequence[str]
) -> NDArray[np.float32]:
    async with open_embedder(settings, provider=spec.provider) as embedder:
        answer = await embedder.embed(list(queries), spec, embedder.keys[0])
    for place, reason in answer.refused.items():
        raise ConfigurationError(f"the query {queries[place]!r} cannot be embedded: {reason}")
    vectors: NDArray[np.float32] = answer.vectors
    return vectors
