"""Read the answer of ``/v1/embeddings``: raw, then against the profile of the server.

Pure: nothing is sent here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pybase64
from numpy.typing import NDArray

from rag_assets.embedding.embedder import normalised
from rag_assets.embedding.profile import Profile, same_model
from rag_assets.errors import ProviderAnswerError
from rag_assets.secrecy import word
from rag_assets.vectors.sql.spaces import SpaceSpec

_MOST_TOKENS = 10**9  # of one answer; more is no count


@dataclass(frozen=True)
class RawAnswer:
    """An answer of the right shape, not yet judged.

    :param model: ``None`` where it names none.
    :param places: the items' ``index``; ``None`` for one that carries none.
    :param tokens: as billed; ``None`` where it does not say.
    """

    model: str | None
    places: tuple[int | None, ...]
    rows: tuple[NDArray[np.float32], ...]
    tokens: int | None

    @classmethod
    def of(cls, answer: Any) -> RawAnswer:
        """:raises ProviderAnswerError: it has not the shape of ``/v1/embeddings``."""
        try:
            model = answer.get("model")
            items = answer["data"]
            places = tuple(_place(item) for item in items)
            rows = tuple(_decode(item["embedding"]) for item in items)
        except (AttributeError, TypeError, KeyError, ValueError, OverflowError):
            raise ProviderAnswerError(
                "the embedding provider's answer has not the shape of /v1/embeddings"
            ) from None
        if any(row.ndim == 2 for row in rows):
            raise ProviderAnswerError(
                "the embedding provider answers a vector per token instead of one per text: start "
                "it with pooling (llama.cpp: --pooling mean, or what the model's page names)"
            )
        return cls(str(model) if model else None, places, rows, _tokens(answer.get("usage")))

    @property
    def indexed(self) -> bool:
        """Whether each item's index says which text it is of. Gemini leaves out one that is 0."""
        missing = sum(place is None for place in self.places)
        found = sorted(place or 0 for place in self.places)
        return missing <= 1 and found == list(range(len(found)))


def matched(
    answer: RawAnswer, count: int, spec: SpaceSpec, profile: Profile
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """The vectors in the order of the texts, L2-normalised; what must not be stored, by position.

    :returns: float32, shape (count, dimensions).
    :raises ProviderAnswerError: the answer contradicts the profile.
    """
    check_model(answer.model, spec, profile)
    places = _places(answer, count, profile)
    rows = np.zeros((count, spec.dimensions), dtype=np.float32)
    for place, row in zip(places, answer.rows, strict=True):
        if row.shape != (spec.dimensions,):
            normalised(np.atleast_2d(row), spec)  # raises, with both dimensions in the message
        rows[place] = row
    rows, refused = normalised(rows, spec)
    missing = dict.fromkeys(
        set(range(count)) - set(places), "the provider's answer left this text out"
    )
    return rows, refused | missing


def check_model(echoed: str | None, spec: SpaceSpec, profile: Profile) -> None:
    """Refuse an answer by another model than the profile's."""
    expected = profile.model
    if echoed == expected or (
        echoed and (same_model(expected or spec.model, echoed) or same_model(spec.model, echoed))
    ):
        return
    raise ProviderAnswerError(
        f"the provider answered with {named(echoed)} instead of {expected or spec.model!r}: "
        "nothing of the answer is stored; correct the model in the settings"
    )


def named(model: str | None) -> str:
    """A model that was not requested, in a message."""
    if model is None:
        return "no model's name"
    shown = word(model)
    return f"model {shown!r}" if shown else "another model, whose name cannot be shown,"


def _places(answer: RawAnswer, count: int, profile: Profile) -> tuple[int, ...]:
    if not profile.indexed:
        if len(answer.rows) != count:
            raise ProviderAnswerError(
                f"the provider answered {len(answer.rows)} vectors for {count} texts, and its "
                "items carry no index: which text has none cannot be said"
            )
        return tuple(range(count))
    places = tuple(0 if place is None else place for place in answer.places)
    if any(not 0 <= place < count for place in places):
        raise ProviderAnswerError(
            f"the provider answered an item with an index that none of the {count} texts has"
        )
    if len(set(places)) < len(places):
        raise ProviderAnswerError("the provider answered two items with the same index")
    return places


def _place(item: Any) -> int | None:
    place = item.get("index")
    if place is None or (isinstance(place, int | str) and not isinstance(place, bool)):
        return None if place is None else int(place)
    raise TypeError("no index")


def _tokens(usage: Any) -> int | None:
    """As billed; ``None`` for what is no number of tokens."""
    if not isinstance(usage, dict):
        return None
    for name in ("total_tokens", "prompt_tokens"):
        try:
            tokens = 0 if isinstance(usage.get(name), bool) else int(usage[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if 0 < tokens < _MOST_TOKENS:
            return tokens
    return None


def _decode(embedding: Any) -> NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(pybase64.b64decode(embedding), dtype="<f4")
    row = np.asarray(embedding, dtype=np.float32)
    if row.ndim not in (1, 2):
        raise ValueError("neither a vector nor one per token")
    return row
