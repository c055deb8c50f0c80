"""The body of an answer, as OpenAI writes it or as an ordered fault distorts it.

Only bytes belong here; whether and when they are sent is decided in ``app``. The base64 form is
joined by hand: it is what the client asks for by default, and a megabyte an answer.
"""

from __future__ import annotations

import json
from binascii import b2a_base64

import numpy as np
from numpy.typing import NDArray

from openai_emulator.dialects import DIALECTS, Dialect
from openai_emulator.faults import Fault, FaultKind
from openai_emulator.requests import NATIVE_DIMENSIONS, EmbeddingRequest
from openai_emulator.vectors import shorten, space

SEEDS = {
    "text-embedding-3-small": 20240125,
    "text-embedding-3-large": 20240126,
    "bge-m3": 20240127,  # of another server, with no price by its name
    "text-embedding-ada-002": 20240128,
}


def vectors_of(request: EmbeddingRequest) -> NDArray[np.float32]:
    """float32, shape ``(inputs, dimensions)``, rows of length 1."""
    made = space(NATIVE_DIMENSIONS[request.served], SEEDS[request.served]).embed(request.texts)
    return shorten(made, request.dimensions)


def write(
    request: EmbeddingRequest, fault: Fault | None, dialect: Dialect = DIALECTS["openai"]
) -> tuple[bytes, int]:
    """The JSON of the answer, and how many inputs it answers (the first ones)."""
    vectors = vectors_of(request) * np.float32(dialect.length)
    kind = fault.kind if fault else None
    if kind is FaultKind.WRONG_DIMENSION:
        vectors = vectors[:, :-1]
    elif kind is FaultKind.MISSING_ITEMS:
        vectors = vectors[:-1]
    elif kind is FaultKind.NAN:
        vectors[0, 0] = np.nan
    order = np.arange(len(vectors))
    if kind is FaultKind.SHUFFLE:
        order = np.roll(order[::-1], 1)  # never the given order, from two inputs on
        order = order if len(order) != 2 else order[::-1]
    tail: dict[str, object] = {
        "model": fault.model
        if fault and kind is FaultKind.WRONG_MODEL
        else _echo(request.model, dialect)
    }
    if dialect.usage:
        tail["usage"] = {"prompt_tokens": request.tokens, "total_tokens": request.tokens}
    if dialect.sorts:
        order = np.argsort([-len(text) for text in request.texts], kind="stable")
    items = _items(vectors, order[: dialect.most_items], dialect, in_base64=request.base64)
    body = b'{"object":"list","data":[' + b",".join(items) + b"]," + json.dumps(tail).encode()[1:]
    return body, len(vectors)


def _echo(model: str, dialect: Dialect) -> str | None:
    return dialect.echo and dialect.echo.format(model=model, MODEL=model.upper())


def _items(
    vectors: NDArray[np.float32], order: NDArray[np.int64], dialect: Dialect, *, in_base64: bool
) -> list[bytes]:
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    places = order.tolist()
    return [
        b'{"object":"embedding",%b"embedding":%b}'
        % (_index(place, dialect), _embedding(rows[place], dialect, in_base64=in_base64))
        for place in places
    ]


def _index(place: int, dialect: Dialect) -> bytes:
    left_out = dialect.index == "none" or (dialect.index == "not zero" and place == 0)
    return b"" if left_out else b'"index":%d,' % (0 if dialect.index == "zeros" else place)


def _embedding(row: NDArray[np.float32], dialect: Dialect, *, in_base64: bool) -> bytes:
    if in_base64:
        return b'"%b"' % b2a_base64(row.data, newline=False)
    return json.dumps([row.tolist()] * 3 if dialect.per_token else row.tolist()).encode()
