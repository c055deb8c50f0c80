"""One request to an OpenAI-compatible server, and the classification of what can go wrong with it.

The only importer of ``openai``. Retrying, pacing and choosing keys are done by the caller: the
client's own retries are off.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx2
import numpy as np
import openai
import pybase64
from numpy.typing import NDArray

from rag_assets.embedding.embedder import Answer, normalised
from rag_assets.errors import (
    AuthenticationError,
    ConfigurationError,
    InputRejectedError,
    ProviderAnswerError,
    ProviderUnavailableError,
    QuotaExceededError,
    RagAssetsError,
    RateLimitedError,
)
from rag_assets.secrecy import register_keys, word
from rag_assets.settings.instructions import Kind
from rag_assets.settings.model import fingerprint
from rag_assets.vectors.sql.spaces import SpaceSpec

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_REJECTED = (400, 413, 422)
_LATER = (408, 409, 425)


class OpenAIEmbedder:
    """Embeds through ``/v1/embeddings``. Use it as an async context manager."""

    limited = True

    def __init__(
        self,
        *,
        base_url: str,
        keys: Sequence[str],
        timeout_s: float,
        send_dimensions: bool = True,
    ) -> None:
        self.keys = tuple(keys)
        register_keys(self.keys)
        self.endpoint = hashlib.sha256(base_url.rstrip("/").encode()).hexdigest()[:16]
        self._send_dimensions = send_dimensions
        self._client = openai.AsyncOpenAI(
            api_key=keys[0], base_url=base_url, timeout=timeout_s, max_retries=0
        )
        self._by_key = {key: self._client.with_options(api_key=key) for key in keys}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.close()

    async def embed(
        self, texts: Sequence[str], spec: SpaceSpec, api_key: str, kind: Kind
    ) -> Answer:
        """See :class:`rag_assets.embedding.embedder.Embedder`."""
        try:
            # Not embeddings.create(): checking 128 strings against its types, and building as many
            # objects, took a third of the time that a whole version spends in this process.
            response = await self._by_key[api_key].post(
                "/embeddings", cast_to=httpx2.Response, body=self._body(texts, spec, kind)
            )
            answer = response.json()
        except openai.APIStatusError as error:
            raise classify(error.status_code, error.code, error.response.headers, api_key) from None
        except (openai.APIConnectionError, httpx2.TransportError) as error:
            slow = isinstance(error, openai.APITimeoutError)
            raise ProviderUnavailableError(
                "the embedding provider did not answer in time (RAG_EMBEDDING_TIMEOUT_S)"
                if slow
                else "the connection to the embedding provider failed (OPENAI_BASE_URL)",
                timed_out=slow,
            ) from None
        except ValueError:
            raise ProviderUnavailableError("the embedding provider answered no JSON") from None
        vectors, refused = _read(answer, len(texts), spec)
        return Answer(
            vectors,
            tokens=_tokens(answer),
            refused=refused,
            rest_key_s=_used_up(response.headers),
        )

    def _body(self, texts: Sequence[str], spec: SpaceSpec, kind: Kind) -> dict[str, object]:
        body: dict[str, object] = {
            "model": spec.model,
            "input": spec.kinds.texts(texts, kind),
            "encoding_format": "base64",
            **spec.kinds.fields(kind),
        }
        return body | ({"dimensions": spec.dimensions} if self._send_dimensions else {})


def ask_for_models(*, base_url: str, key: str, timeout_s: float) -> int:
    """Status with which the server answers a request for its models: nothing is bought.

    :raises ProviderUnavailableError: it does not answer.
    """
    client = openai.OpenAI(api_key=key, base_url=base_url, timeout=timeout_s, max_retries=0)
    with client:
        try:
            return int(client.get("/models", cast_to=httpx2.Response).status_code)
        except openai.APIStatusError as error:
            return error.status_code
        except (openai.APIConnectionError, httpx2.TransportError) as error:
            slow = isinstance(error, openai.APITimeoutError)
            raise ProviderUnavailableError(
                f"no answer within {timeout_s:g} s" if slow else "the connection fails"
            ) from None


def classify(status: int, code: object, headers: Mapping[str, str], api_key: str) -> RagAssetsError:
    """The error of this package for a refused request, by status and the error's ``code``.

    The provider's own message is left out: it may repeat the input or a part of the key. So may the
    code, which is free text for some servers: it is shown only where it is an identifier.
    """
    shown = word(code) or status
    key = f"key {fingerprint(api_key)}"
    if status == 402 or (status == 429 and code == "insufficient_quota"):
        return QuotaExceededError(f"{key} has no quota left: pay, or take it out")
    if status == 429:
        return RateLimitedError(f"{key} is rate limited", retry_after_s=_retry_after(headers))
    if status in (401, 403):
        return AuthenticationError(
            f"the embedding provider refuses {key} ({shown}): correct OPENAI_API_KEY"
        )
    if status == 404:
        return ConfigurationError(
            f"the embedding provider does not know the model or address ({shown}): "
            "correct OPENAI_BASE_URL or the model's name in the settings"
        )
    if status in _REJECTED:
        return InputRejectedError(f"the provider refuses the text ({shown})")
    if status in _LATER or status >= 500:
        return ProviderUnavailableError(f"the embedding provider fails with status {status}")
    return ProviderAnswerError(f"the embedding provider answered status {status} ({shown})")


def parse_duration(text: str) -> float:
    """Seconds in OpenAI's notation: ``120ms``, ``1s``, ``6m0s``; 0 where it says nothing."""
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in headers:
            try:
                seconds = float(headers[name]) * unit_s
            except ValueError:  # an HTTP date: nobody sends one here
                return None
            return max(0.0, seconds) if math.isfinite(seconds) else None
    resets = [
        parse_duration(headers[name])
        for name in ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")
        if name in headers
    ]
    return max(resets, default=None)


def _used_up(headers: Mapping[str, str]) -> float:
    """Seconds to rest when an answer says that nothing is left of a limit."""
    return max(
        (
            parse_duration(headers.get(f"x-ratelimit-reset-{unit}", ""))
            for unit in ("requests", "tokens")
            if headers.get(f"x-ratelimit-remaining-{unit}") == "0"
        ),
        default=0.0,
    )


def _read(answer: Any, count: int, spec: SpaceSpec) -> tuple[NDArray[np.float32], dict[int, str]]:
    """The vectors by ``index``, never by order; refuse what must not be stored."""
    try:
        model = str(answer["model"])
        items = {int(item["index"]): _decode(item["embedding"]) for item in answer["data"]}
    except (TypeError, KeyError, ValueError, OverflowError):
        raise ProviderAnswerError(
            "the embedding provider's answer has not the shape of /v1/embeddings"
        ) from None
    if model != spec.model and not model.endswith(f"/{spec.model}"):
        raise ProviderAnswerError(
            f"the provider answered with {_named(model)} instead of {spec.model!r}: nothing of "
            "the answer is stored; correct the model in the settings"
        )
    rows = np.zeros((count, spec.dimensions), dtype=np.float32)
    for place, row in items.items():
        if row.shape != (spec.dimensions,):
            normalised(np.atleast_2d(row), spec)  # raises, with both dimensions in the sentence
        if not 0 <= place < count:
            raise ProviderAnswerError(
                f"the provider answered an item with an index that none of the {count} texts has"
            )
        rows[place] = row
    rows, refused = normalised(rows, spec)
    missing = dict.fromkeys(
        set(range(count)) - items.keys(), "the provider's answer left this text out"
    )
    return rows, refused | missing


def _named(model: str) -> str:
    """A model that nobody asked for, in a message."""
    shown = word(model)
    return f"model {shown!r}" if shown else "another model, whose name cannot be shown,"


def _tokens(answer: Mapping[str, Any]) -> int:
    """As billed; 0 where a server does not say."""
    usage = answer.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) else 0


def _decode(embedding: Any) -> NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(pybase64.b64decode(embedding), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)  # a server without base64
