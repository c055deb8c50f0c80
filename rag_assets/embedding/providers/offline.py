"""An embedder without a provider: character n-grams, hashed. Lexical, and it says so.

It finds words and their inflections, not meanings; it needs no key, costs nothing and lets a fresh
machine show everything else for real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rag_assets.embedding.embedder import Answer, embedding_span, normalised
from rag_assets.settings.instructions import Kind
from rag_assets.vectors.sql.spaces import SpaceSpec


class OfflineEmbedder:
    """scikit-learn's HashingVectorizer over character 3- to 5-grams within words."""

    endpoint = "offline"
    keys: Sequence[str] = ("",)
    limited = False

    async def embed(
        self,
        texts: Sequence[str],
        spec: SpaceSpec,
        api_key: str,  # noqa: ARG002
        kind: Kind,  # noqa: ARG002
    ) -> Answer:
        """Embed in a thread, so that storing goes on meanwhile. Zero tokens."""
        with embedding_span(spec, len(texts)):
            return await asyncio.to_thread(_embed, tuple(texts), spec)


def _embed(texts: tuple[str, ...], spec: SpaceSpec) -> Answer:
    rows = _vectorizer(spec.dimensions).transform(texts).toarray().astype(np.float32)
    vectors, refused = normalised(rows, spec)
    return Answer(vectors, tokens=0, refused=refused)


@lru_cache(maxsize=4)
def _vectorizer(dimensions: int) -> Any:
    # Imported late: half a second and 80 MB that a run with a provider does not need.
    from sklearn.feature_extraction.text import HashingVectorizer  # noqa: PLC0415

    return HashingVectorizer(
        analyzer="char_wb",
        ngram_range=(3, 5),
        n_features=dimensions,
        lowercase=True,
        strip_accents="unicode",
        norm=None,
    )
