"""Find out what a server does, by one small request where it does what OpenAI does.

The texts are our own and harmless, so a refusal is about the request's form, the model or the key.
What is found is a :class:`rag_assets.embedding.profile.Profile`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rag_assets.embedding.batching import MAX_INPUTS, estimate_tokens
from rag_assets.embedding.embedder import Probed, normalised
from rag_assets.embedding.profile import Overrides, Profile, same_model
from rag_assets.embedding.providers.answers import RawAnswer, named
from rag_assets.errors import (
    ConfigurationError,
    InputRejectedError,
    ProviderAnswerError,
    ProviderUnavailableError,
    RagAssetsError,
)
from rag_assets.secrecy import word
from rag_assets.vectors.sql.spaces import SpaceSpec

_FIRST, _SECOND = "In the beginning was the Word.", "Jesus wept."
_SAME = 0.99  # cosine of a text's vector, requested alone and among others
_UNIT = 1e-3

Request = Callable[[Sequence[str], Profile], Awaitable[RawAnswer]]
"""Send texts as a profile says.

:raises RagAssetsError: the refusal, classed.
"""


class _Counted:
    """Requests of one probe, counted."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.requests = self.input_bytes = self.tokens = 0

    async def send(self, texts: Sequence[str], profile: Profile) -> RawAnswer:
        self.requests += 1
        answer = await self._request(texts, profile)
        self.input_bytes += sum(len(text.encode()) for text in texts)
        self.tokens += sum(map(estimate_tokens, texts)) if answer.tokens is None else answer.tokens
        return answer


async def probe(request: Request, spec: SpaceSpec, overrides: Overrides, *, batch: int) -> Probed:
    """Probe a server for one space.

    :param batch: texts that requests are going to have.
    :raises ConfigurationError: the server cannot be used for this space as it is set.
    :raises RagAssetsError: the provider's errors.
    """
    batch = max(2, min(batch, MAX_INPUTS))
    counted = _Counted(request)
    assumed = Profile().overridden(overrides)
    try:
        answer, form, size = await counted.send(_texts(batch), assumed), assumed, batch
    except (InputRejectedError, ProviderUnavailableError) as refusal:
        if isinstance(refusal, ProviderUnavailableError) and refusal.status is None:
            raise
        form = await _form(counted, overrides)
        size = await _largest(counted, form, batch)
        answer = await counted.send(_texts(2), form)
    profile = _judged(answer, spec, form, overrides)
    profile = replace(profile, largest_batch=size, batch_limited=size < batch)
    if not profile.indexed:
        await _check_order(counted, answer, profile)
    return Probed(profile, counted.requests, counted.input_bytes, counted.tokens)


async def _form(counted: _Counted, overrides: Overrides) -> Profile:
    """The form of a request that the server takes: with ``base64`` and ``dimensions``, or without.

    One that was answered by a 5xx is tried again before a lesser one is kept for good.
    """
    first_failure: RagAssetsError | None = None
    forms = [
        replace(Profile().overridden(overrides), base64=base64, dimensions=dimensions)
        for dimensions, base64 in product(
            _choices(overrides.dimensions), _choices(overrides.base64)
        )
    ]
    failing: list[Profile] = []
    for form in forms:
        try:
            await counted.send(_texts(2), form)
        except ProviderUnavailableError as error:
            if error.status is None:
                raise
            first_failure = error
            failing.append(form)
        except InputRejectedError as error:
            first_failure = first_failure or error
        else:
            return await _recovered(counted, failing) or form
    if isinstance(first_failure, ProviderUnavailableError):
        raise first_failure
    raise ConfigurationError(
        f"the embedding provider refuses a request for two short texts: {first_failure}. So it is "
        "not the text: correct OPENAI_API_KEY, OPENAI_BASE_URL or the model's name in the settings"
    )


async def _recovered(counted: _Counted, failing: Sequence[Profile]) -> Profile | None:
    for form in failing[:1]:
        try:
            await counted.send(_texts(2), form)
        except (InputRejectedError, ProviderUnavailableError):
            return None
        return form
    return None


def _choices(override: bool | None) -> Sequence[bool]:
    return (True, False) if override is None else (override,)


async def _largest(counted: _Counted, form: Profile, batch: int) -> int:
    """The most texts in one request that the server takes, up to ``batch``; by bisection."""
    taken, refused = 2, batch + 1
    size = batch
    while refused - taken > 1:
        try:
            await counted.send(_texts(size), form)
            taken = size
        except (InputRejectedError, ProviderUnavailableError) as error:
            if isinstance(error, ProviderUnavailableError) and error.status is None:
                raise
            refused = size
        size = (taken + refused) // 2
    return taken


def _judged(answer: RawAnswer, spec: SpaceSpec, form: Profile, overrides: Overrides) -> Profile:
    """The profile that an answer shows, or why the server cannot be used."""
    _check_echo(answer.model, spec, overrides)
    width = len(answer.rows[0]) if answer.rows else 0
    if width != spec.dimensions:
        ignored = " and ignores the dimensions requested" if form.dimensions else ""
        raise ConfigurationError(
            f"{spec.model} answers vectors of dimension {width}{ignored}; the space {spec} has "
            f"{spec.dimensions}. Set RAG_EMBEDDING_SMALL_DIMENSIONS (or …_LARGE_DIMENSIONS) to "
            f"{width}, or name another model"
        )
    rows = np.array(answer.rows, dtype=np.float32)
    _, refused = normalised(rows, spec)
    if refused:
        raise ProviderAnswerError(f"{spec.model}, for a short English text: {refused.popitem()[1]}")
    return replace(
        form,
        model=answer.model,
        indexed=answer.indexed if overrides.indexed is None else overrides.indexed,
        normalised=bool(np.all(np.abs(np.linalg.norm(rows, axis=1) - 1) < _UNIT)),
        reports_usage=answer.tokens is not None,
    )


def _check_echo(echoed: str | None, spec: SpaceSpec, overrides: Overrides) -> None:
    alias = overrides.aliases.get(spec.model)
    if echoed is None or same_model(alias or spec.model, echoed):
        return
    raise ConfigurationError(
        f"the provider answers as {named(echoed)} to a request for {spec.model!r}. If that is what "
        f"{spec.model!r} stands for there (a deployment, an alias, a file), set "
        f"RAG_EMBEDDING_MODEL_ALIASES={spec.model}={word(echoed) or '…'}; if not, correct the "
        "model's name"
    )


async def _check_order(counted: _Counted, answer: RawAnswer, profile: Profile) -> None:
    """Ask for the second text alone: without an index only the order says whose a vector is."""
    alone = (await counted.send([_SECOND], profile)).rows[0]
    first, second = (_cosine(alone, row) for row in answer.rows[:2])
    if second < _SAME or first >= second:
        raise ConfigurationError(
            "the embedding provider's items carry no index and do not come in the order of the "
            "texts: whose a vector is cannot be said, so nothing can be stored"
        )


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _texts(count: int) -> list[str]:
    return [_FIRST, _SECOND, *map(str, range(count - 2))]
