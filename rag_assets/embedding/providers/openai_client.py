"""Requests to an OpenAI-compatible server, one at a time.

With :mod:`.batch_api` the only importer of ``openai``. Retrying, pacing and choosing keys are done
by the caller: the client's own retries are off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import httpx2
import openai

from rag_assets import tracing
from rag_assets.embedding.batching import estimate_tokens
from rag_assets.embedding.embedder import Answer, embedding_span
from rag_assets.embedding.profile import Overrides, Profile, endpoint_of
from rag_assets.embedding.providers.answers import RawAnswer, matched
from rag_assets.embedding.providers.refusals import classify, refused_in, rest_after
from rag_assets.errors import ProviderAnswerError, ProviderUnavailableError
from rag_assets.secrecy import register_keys
from rag_assets.settings.instructions import Kind
from rag_assets.vectors.sql.spaces import SpaceSpec

_AZURE_QUERY = "api-version"


class OpenAIEmbedder:
    """Embeds through ``/v1/embeddings``. Use it as an async context manager.

    :param base_url: Azure's classic address, with its ``?api-version=``, will do.
    """

    limited = True

    def __init__(
        self,
        *,
        base_url: str,
        keys: Sequence[str],
        timeout_s: float,
        overrides: Overrides | None = None,
    ) -> None:
        self.keys = tuple(keys)
        register_keys(self.keys)
        self.endpoint = endpoint_of(base_url)
        self.overrides = overrides or Overrides()
        self._profiles: dict[SpaceSpec, Profile] = {}
        self._assumed = Profile().overridden(self.overrides)
        self._client = openai.AsyncOpenAI(timeout=timeout_s, **_address(base_url, keys[0]))
        self._by_key = {
            key: self._client.with_options(**_credentials(base_url, key)) for key in keys
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.close()

    def profile(self, spec: SpaceSpec) -> Profile | None:
        """See :class:`rag_assets.embedding.embedder.ProbedEmbedder`."""
        return self._profiles.get(spec)

    def use(self, spec: SpaceSpec, profile: Profile) -> None:
        """See :class:`rag_assets.embedding.embedder.ProbedEmbedder`."""
        self._profiles[spec] = profile

    async def ask(
        self, texts: Sequence[str], spec: SpaceSpec, api_key: str, profile: Profile
    ) -> RawAnswer:
        """See :class:`rag_assets.embedding.embedder.ProbedEmbedder`."""
        answer, _ = await self._post(request_body(texts, spec, profile, "passage"), api_key)
        return RawAnswer.of(answer)

    async def embed(
        self, texts: Sequence[str], spec: SpaceSpec, api_key: str, kind: Kind
    ) -> Answer:
        """See :class:`rag_assets.embedding.embedder.Embedder`."""
        profile = self._profiles.get(spec, self._assumed)
        with embedding_span(spec, len(texts), server=self._client.base_url.host) as span:
            body = request_body(texts, spec, profile, kind)
            answer, headers = await self._post(body, api_key)
            raw = RawAnswer.of(answer)
            tokens = sum(map(estimate_tokens, texts)) if raw.tokens is None else raw.tokens
            span.set({"gen_ai.usage.input_tokens": tokens})
        try:
            vectors, refused = matched(raw, len(texts), spec, profile)
        except ProviderAnswerError as error:
            error.tokens = tokens  # nothing is stored, and yet it is billed
            raise
        return Answer(vectors, tokens, refused, rest_key_s=rest_after(headers))

    async def _post(
        self, body: Mapping[str, object], api_key: str
    ) -> tuple[Any, Mapping[str, str]]:
        try:
            # Not embeddings.create(): checking 128 strings against its types, and building as many
            # objects, took a third of the time that a whole version spends in this process.
            with explained(api_key):
                response = await self._by_key[api_key].post(
                    "/embeddings",
                    cast_to=httpx2.Response,
                    body=body,
                    options={"headers": tracing.outgoing()},
                )
            answer = response.json()
        except ValueError:
            raise ProviderUnavailableError(
                "the embedding provider answered no JSON (is OPENAI_BASE_URL the API's, with /v1?)"
            ) from None
        if refused_in(answer):
            raise classify(response.status_code, answer, response.headers, api_key)
        return answer, response.headers


def open_client(*, base_url: str, key: str, timeout_s: float) -> openai.OpenAI:
    """A client of one key, for what is not an embedding. Close it."""
    return openai.OpenAI(timeout=timeout_s, **_address(base_url, key))


@contextmanager
def explained(api_key: str) -> Iterator[None]:
    """Turn the client's errors into ours, without what may hold the key."""
    try:
        yield
    except openai.APIStatusError as error:
        refusal = classify(error.status_code, _json(error), error.response.headers, api_key)
        raise refusal from None
    except (openai.APIConnectionError, httpx2.TransportError) as error:
        slow = isinstance(error, openai.APITimeoutError)
        raise ProviderUnavailableError(
            "the embedding provider did not answer in time (RAG_EMBEDDING_TIMEOUT_S)"
            if slow
            else "the connection to the embedding provider failed: "
            "check the network and OPENAI_BASE_URL",
            timed_out=slow,
        ) from None


def ask_for_models(*, base_url: str, key: str, timeout_s: float) -> int:
    """Status with which the server answers a request for its models, which costs nothing.

    :raises ProviderUnavailableError: it does not answer.
    """
    with open_client(base_url=base_url, key=key, timeout_s=timeout_s) as client:
        try:
            return int(client.get("/models", cast_to=httpx2.Response).status_code)
        except openai.APIStatusError as error:
            return error.status_code
        except (openai.APIConnectionError, httpx2.TransportError) as error:
            slow = isinstance(error, openai.APITimeoutError)
            raise ProviderUnavailableError(
                f"no answer within {timeout_s:g} s" if slow else "the connection fails"
            ) from None


def _address(base_url: str, key: str) -> dict[str, Any]:
    """The client's options for an address; a query, as Azure's classic one has, goes along."""
    scheme, place, path, query, _ = urlsplit(base_url)
    return {
        "base_url": urlunsplit((scheme, place, path, "", "")),
        "default_query": dict(parse_qsl(query)),
        "max_retries": 0,
        **_credentials(base_url, key),
    }


def _credentials(base_url: str, key: str) -> dict[str, Any]:
    azure = any(name == _AZURE_QUERY for name, _ in parse_qsl(urlsplit(base_url).query))
    return {"api_key": key, **({"default_headers": {"api-key": key}} if azure else {})}


def request_body(
    texts: Sequence[str], spec: SpaceSpec, profile: Profile, kind: Kind
) -> dict[str, object]:
    """The body of one request, as this server takes it."""
    body: dict[str, object] = {
        "model": spec.model,
        "input": spec.kinds.texts(texts, kind),
        **spec.kinds.fields(kind),
    }
    if profile.base64:
        body["encoding_format"] = "base64"
    if profile.dimensions:
        body["dimensions"] = spec.dimensions
    return body


def _json(error: openai.APIStatusError) -> Any:
    try:
        return error.response.json()
    except ValueError:
        return None
