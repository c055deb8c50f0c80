"""The body of an answer, as OpenAI writes it or as an ordered fault distorts it.

Only bytes belong here; whether and when they are sent is decided in ``app``. The base64 form is
joined by hand: it is what the client asks for by default, and a megabyte an answer.
"""

from __future__ import annotations

import json
from binascii import b2a_base64

import numpy as np
from numpy.typing import NDArray

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.requests import NATIVE_DIMENSIONS, EmbeddingRequest
from openai_emulator.vectors import shorten, space

SEEDS = {
    "text-embedding-3-small": 20240125,
    "text-embedding-3-large": 20240126,
    "bge-m3": 20240127,  # of another server, with no price by its name
}


def vectors_of(request: EmbeddingRequest) -> NDArray[np.float32]:
    """float32, shape ``(inputs, dimensions)``, rows of length 1."""
    made = space(NATIVE_DIMENSIONS[request.model], SEEDS[request.model]).embed(request.texts)
    return shorten(made, request.dimensions)


def write(request: EmbeddingRequest, fault: Fault | None) -> tuple[bytes, int]:
    """The JSON of the answer, and how many inputs it answers (the first ones)."""
    vectors = vectors_of(request)
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
    model = fault.model if fault and kind is FaultKind.WRONG_MODEL else request.model
    items = _items(vectors, order, in_base64=request.base64)
    tail = {
        "model": model,
        "usage": {"prompt_tokens": request.tokens, "total_tokens": request.tokens},
    }
    body = b'{"object":"list","data":[' + b",".join(items) + b"]," + json.dumps(tail).encode()[1:]
    return body, len(vectors)


def _items(
    vectors: NDArray[np.float32], order: NDArray[np.int64], *, in_base64: bool
) -> list[bytes]:
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    head = b'{"object":"embedding","index":%d,"embedding":'
    if in_base64:
        text = head + b'"%b"}'
        return [text % (i, b2a_base64(rows[i].data, newline=False)) for i in order.tolist()]
    text = head + b"%b}"
    return [text % (i, json.dumps(rows[i].tolist()).encode()) for i in order.tolist()]
