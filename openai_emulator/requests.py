"""Reading a request for embeddings, and refusing what OpenAI refuses.

Only what can be said from the key and the body alone belongs here; limits over time and ordered
faults come after.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from openai_emulator import refusals
from openai_emulator.dialects import DIALECTS, Dialect

NATIVE_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "bge-m3": 1024,
    "text-embedding-ada-002": 1536,
}
ALIASES = {"my-deployment": "text-embedding-3-small", "my-alias": "bge-m3"}
"""What names that an operator chose stand for, where a server has such."""
MAX_INPUTS = 2048
MAX_TOKENS_PER_REQUEST = 300_000
MAX_TOKENS_PER_INPUT = 8192


@dataclass(frozen=True)
class EmbeddingRequest:
    """A valid request. ``tokens`` is what it will be billed; ``served`` is the model behind it."""

    model: str
    served: str
    texts: tuple[str, ...]
    dimensions: int
    base64: bool
    tokens: int


def count_tokens(text: str) -> int:
    """A quarter of the UTF-8 bytes, rounded up: the estimate that OpenAI's limit is held by."""
    return max(1, -(-len(text.encode()) // 4))


def read_key(
    authorization: str, valid: Collection[str] | None, dialect: Dialect = DIALECTS["openai"]
) -> str:
    """The key of a request.

    :param valid: the keys that are valid; ``None`` for any that begins with ``sk-test-``.
    """
    scheme, _, key = authorization.partition(" ")
    key = key.strip() if scheme.lower() == "bearer" else ""
    known = key.startswith("sk-test-") if valid is None else key in valid
    if not known:
        if dialect.key_refusal:
            raise refusals.AsWritten(*dialect.key_refusal)
        raise refusals.invalid_key(key)
    return key


def read_request(
    body: bytes, dialect: Dialect = DIALECTS["openai"], *, deployment: str | None = None
) -> EmbeddingRequest:
    """The request, or the refusal that the server would answer.

    :param deployment: the model that the path names.
    """
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise refusals.bad_request("We could not parse the JSON body of your request.")
    model = given.get("model") if deployment is None else deployment
    if not isinstance(model, str) or not model:
        raise refusals.bad_request("you must provide a model parameter")
    served = served_as(model, dialect)
    if served not in NATIVE_DIMENSIONS:
        if dialect.model_refusal:
            raise refusals.AsWritten(*dialect.model_refusal)
        raise refusals.unknown_model(model)
    encoding = given.get("encoding_format", "float")
    for name, reply in (("encoding_format", dialect.base64), ("dimensions", dialect.dimensions)):
        if name in given and isinstance(reply, int):
            raise refusals.Refused(reply, f"{name} is not supported", param=name)
    if encoding not in ("float", "base64"):
        message = f"Invalid value: '{encoding}'. Supported values are: 'float' and 'base64'."
        raise refusals.bad_request(message, param="encoding_format", code="invalid_value")
    texts = _texts(given.get("input"))
    tokens = _tokens(texts)
    if len(texts) > (dialect.largest_batch or MAX_INPUTS) or (
        dialect.most_tokens and tokens > dialect.most_tokens
    ):
        raise refusals.Refused(dialect.batch_status, "the batch is too large", type="Validation")
    asked = given.get("dimensions") if dialect.dimensions == "answered" else None
    return EmbeddingRequest(
        model=model,
        served=served,
        texts=texts,
        dimensions=_dimensions(asked, NATIVE_DIMENSIONS[served]),
        base64=encoding == "base64" and dialect.base64 == "answered",
        tokens=tokens,
    )


def served_as(model: str, dialect: Dialect) -> str:
    """The model that answers: an alias or a deployment stands for what the answers name."""
    if model in NATIVE_DIMENSIONS or model not in ALIASES:
        return model
    return ALIASES[model] if dialect.echo and "{" not in dialect.echo else model


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
