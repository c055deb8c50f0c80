"""Find out what a server does, by one small request where it does what OpenAI does.

The texts are our own and harmless, so a refusal is about the request's form, its size, the model or
the key. What is found is a :class:`rag_assets.embedding.profile.Profile`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rag_assets.embedding.batching import MAX_INPUTS
from rag_assets.embedding.embedder import normalised
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

HARMLESS = "In the beginning was the Word."
"""A text that any server answers that answers at all."""
_SHORT = "Jesus wept."
_LONG = "He maketh me to lie down in green pastures: he leadeth me beside the still waters."
_UNIT = 1e-3

Request = Callable[[Sequence[str], Profile], Awaitable[RawAnswer]]
"""Send texts as a profile says.

:raises RagAssetsError: the refusal, classed.
"""
_Key = tuple[int, bool, bool]


class Probe:
    """A probe of one server for one space; one that an outage broke off goes on where it was.

    :param batch: texts that requests are going to have.
    """

    def __init__(
        self, request: Request, spec: SpaceSpec, overrides: Overrides, *, batch: int
    ) -> None:
        self._request = request
        self._spec = spec
        self._overrides = overrides
        self._batch = max(1, min(batch, MAX_INPUTS))
        self._known: dict[_Key, RawAnswer | InputRejectedError] = {}

    async def run(self) -> Profile:
        """Return the profile.

        :raises ConfigurationError: the server cannot be used for this space as it is set.
        :raises RagAssetsError: the provider's errors.
        """
        form = Profile().overridden(self._overrides)
        try:
            answer, size = await self._send(self._batch, form), self._batch
        except (InputRejectedError, ProviderUnavailableError) as refusal:
            _raise_unless_answered(refusal)
            form, taken = await self._form()
            answer, size = await self._largest(form, taken)
        profile = self._judged(answer, form)
        if not profile.indexed:
            await self._check_order(answer, size, profile)
        return replace(
            profile,
            largest_batch=size,
            batch_limited=size < self._batch,
            under=self._overrides.label(self._spec.model),
        )

    async def _send(self, count: int, form: Profile) -> RawAnswer:
        """Send texts; an answer with fewer items than texts is a refusal of so many.

        Answers and refusals are remembered, outages are not.
        """
        key = (count, form.base64, form.dimensions)
        if key not in self._known:
            try:
                answer = await self._request(_texts(count), form)
            except InputRejectedError as refusal:
                self._known[key] = refusal
            else:
                whole = len(answer.rows) == count
                few = InputRejectedError(f"{len(answer.rows)} vectors for {count} texts")
                self._known[key] = answer if whole else few
        known = self._known[key]
        if isinstance(known, InputRejectedError):
            raise known
        return known

    async def _form(self) -> tuple[Profile, int]:
        """The form of a request that is taken, with ``base64`` and ``dimensions`` or without.

        One that was answered by a 5xx is tried again before a lesser one is kept for good.

        :returns: the form, and the number of texts that were taken in it: 2, or 1.
        """
        outage: ProviderUnavailableError | None = None
        refusal: RagAssetsError | None = None
        forms = [
            replace(Profile().overridden(self._overrides), base64=base64, dimensions=dimensions)
            for dimensions, base64 in product(
                _choices(self._overrides.dimensions), _choices(self._overrides.base64)
            )
        ]
        for count in (2, 1)[self._batch < 2 :]:
            failing: list[Profile] = []
            for form in forms:
                try:
                    await self._send(count, form)
                except ProviderUnavailableError as error:
                    _raise_unless_answered(error)
                    outage = error
                    failing.append(form)
                except InputRejectedError as error:
                    refusal = refusal or error
                else:
                    return await self._recovered(count, failing) or form, count
        if outage:
            raise outage
        raise ConfigurationError(
            f"the embedding provider refuses a request for one short text: {refusal}. So it is not "
            "the text: correct OPENAI_API_KEY, OPENAI_BASE_URL or the model's name in the settings"
        )

    async def _recovered(self, count: int, failing: Sequence[Profile]) -> Profile | None:
        for form in failing[:1]:
            try:
                await self._send(count, form)
            except (InputRejectedError, ProviderUnavailableError):
                return None
            return form
        return None

    async def _largest(self, form: Profile, taken: int) -> tuple[RawAnswer, int]:
        """The answer to the most texts in one request that the server takes, by bisection."""
        refused = self._batch + 1
        size = self._batch
        while refused - taken > 1:
            if await self._takes(size, form):
                taken = size
            else:
                refused = size
            size = (taken + refused) // 2
        return await self._send(taken, form), taken

    async def _takes(self, size: int, form: Profile) -> bool:
        """Whether the server takes so many texts; a 5xx counts if small requests are answered."""
        for _ in range(2):
            try:
                await self._send(size, form)
            except InputRejectedError:
                return False
            except ProviderUnavailableError as error:
                _raise_unless_answered(error)
                await self._request(_texts(1), form)  # raises, where it is an outage
            else:
                return True
        return False

    def _judged(self, answer: RawAnswer, form: Profile) -> Profile:
        """The profile that an answer shows, or why the server cannot be used."""
        spec = self._spec
        _check_echo(answer.model, spec, self._overrides)
        for width in {len(row) for row in answer.rows} - {spec.dimensions}:
            ignored = " and ignores the dimensions requested" if form.dimensions else ""
            raise ConfigurationError(
                f"{spec.model} answers vectors of dimension {width}{ignored}; the space {spec} has "
                f"{spec.dimensions}. Set RAG_EMBEDDING_SMALL_DIMENSIONS (or …_LARGE_DIMENSIONS) to "
                f"{width}, or name another model"
            )
        rows = np.array(answer.rows, dtype=np.float32)
        _, refused = normalised(rows, spec)
        if refused:
            raise ProviderAnswerError(
                f"{spec.model}, for a short English text: {refused.popitem()[1]}"
            )
        if self._overrides.indexed and not answer.indexed:
            raise ConfigurationError(
                "the embedding provider's items carry no index that says whose a vector is: set "
                "RAG_EMBEDDING_ITEM_ORDER=position, or leave it to the probe"
            )
        return replace(
            form,
            model=answer.model,
            indexed=answer.indexed if self._overrides.indexed is None else self._overrides.indexed,
            normalised=bool(np.all(np.abs(np.linalg.norm(rows, axis=1) - 1) < _UNIT)),
            reports_usage=answer.tokens is not None,
        )

    async def _check_order(self, answer: RawAnswer, size: int, form: Profile) -> None:
        """Ask for some texts alone: without an index only the order says whose a vector is."""
        texts = _texts(size)
        rows = np.array(answer.rows)
        for place in {0, min(1, size - 1), size - 1} if size > 1 else ():
            alone = (await self._request([texts[place]], form)).rows[0]
            if int(np.argmax(_cosines(rows, alone))) != place:
                raise ConfigurationError(
                    "the embedding provider's items carry no index and do not come in the order of "
                    "the texts: whose a vector is cannot be said, so nothing can be stored"
                )


def _raise_unless_answered(error: RagAssetsError) -> None:
    """An outage without an answer says nothing about the request."""
    if isinstance(error, ProviderUnavailableError) and error.status is None:
        raise error


def _choices(override: bool | None) -> Sequence[bool]:
    return (True, False) if override is None else (override,)


def _check_echo(echoed: str | None, spec: SpaceSpec, overrides: Overrides) -> None:
    alias = overrides.aliases.get(spec.model)
    if echoed is None or same_model(alias or spec.model, echoed):
        return
    known = {**overrides.aliases, spec.model: word(echoed) or "…"}
    setting = ",".join(f"{requested}={answered}" for requested, answered in known.items())
    raise ConfigurationError(
        f"the provider answers as {named(echoed)} to a request for {spec.model!r}. If that is what "
        f"{spec.model!r} stands for there (a deployment, an alias, a file), set "
        f"RAG_EMBEDDING_MODEL_ALIASES={setting}; if not, correct the model's name"
    )


def _cosines(rows: NDArray[np.float32], one: NDArray[np.float32]) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = rows @ one / np.linalg.norm(rows, axis=1)
    return cosines


def _texts(count: int) -> list[str]:
    """Texts of lengths that no sort leaves in place: medium, short, the shortest, long."""
    if count < 3:
        return [_SHORT, _LONG][:count]
    return [HARMLESS, _SHORT, *map(str, range(count - 3)), _LONG]
