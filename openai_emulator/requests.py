"""Reading a request for embeddings, and refusing what OpenAI refuses.

Only what can be said from the key and the body alone belongs here; limits over time and ordered
faults come after.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from openai_emulator import refusals

NATIVE_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "bge-m3": 1024,
}
MAX_INPUTS = 2048
MAX_TOKENS_PER_REQUEST = 300_000
MAX_TOKENS_PER_INPUT = 8192


@dataclass(frozen=True)
class EmbeddingRequest:
    """A valid request. ``tokens`` is what it will be billed."""

    model: str
    texts: tuple[str, ...]
    dimensions: int
    base64: bool
    tokens: int


def count_tokens(text: str) -> int:
    """A quarter of the UTF-8 bytes, rounded up: the estimate that OpenAI's limit is held by."""
    return max(1, -(-len(text.encode()) // 4))


def read_key(authorization: str, valid: Collection[str] | None) -> str:
    """The key of a request.

    :param valid: the keys that are valid; ``None`` for any that begins with ``sk-test-``.
    """
    scheme, _, key = authorization.partition(" ")
    key = key.strip() if scheme.lower() == "bearer" else ""
    known = key.startswith("sk-test-") if valid is None else key in valid
    if not known:
        raise refusals.invalid_key(key)
    return key


def read_request(body: bytes) -> EmbeddingRequest:
    """The request, or the refusal that OpenAI would answer."""
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise refusals.bad_request("We could not parse the JSON body of your request.")
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise refusals.bad_request("you must provide a model parameter")
    if model not in NATIVE_DIMENSIONS:
        raise refusals.unknown_model(model)
    encoding = given.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        message = f"Invalid value: '{encoding}'. Supported values are: 'float' and 'base64'."
        raise refusals.bad_request(message, param="encoding_format", code="invalid_value")
    texts = _texts(given.get("input"))
    return EmbeddingRequest(
        model=model,
        texts=texts,
        dimensions=_dimensions(given.get("dimensions"), NATIVE_DIMENSIONS[model]),
        base64=encoding == "base64",
        tokens=_tokens(texts),
    )


def _texts(given: object) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise refusals.bad_request(
            "Invalid type for 'input': expected a string or an array of strings.",
            param="input",
            code="invalid_type",
        )
    if not texts:
        raise refusals.bad_request(
            "Invalid 'input': empty array. Expected an array with minimum length 1.",
            param="input",
            code="empty_array",
        )
    if len(texts) > MAX_INPUTS:
        raise refusals.bad_request(
            f"Invalid 'input': array too long. Expected an array with maximum length {MAX_INPUTS}, "
            f"but got an array with length {len(texts)} instead.",
            param="input",
            code="array_above_max_length",
        )
    if not all(texts):
        raise refusals.bad_request("Invalid 'input': input cannot be an empty string.")
    return tuple(texts)


def _tokens(texts: tuple[str, ...]) -> int:
    counts = [count_tokens(text) for text in texts]
    if max(counts) > MAX_TOKENS_PER_INPUT:
        raise refusals.bad_request(
            f"Invalid 'input': maximum context length is {MAX_TOKENS_PER_INPUT} tokens."
        )
    if sum(counts) > MAX_TOKENS_PER_REQUEST:
        raise refusals.too_many_tokens(sum(counts), MAX_TOKENS_PER_REQUEST)
    return sum(counts)


def _dimensions(given: object, native: int) -> int:
    if given is None:
        return native
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= native:
        raise refusals.bad_request(
            f"Invalid value for 'dimensions' = {given}. Must be between 1 and {native}.",
            param="dimensions",
        )
    return given
