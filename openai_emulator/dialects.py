"""Servers that call themselves OpenAI-compatible, and what each of them does otherwise.

Only what is otherwise belongs here; each was reported by users of that server. Bodies are changed
in ``answers``, requests are refused in ``requests`` and ``app``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Dialect:
    """How a server differs from OpenAI's.

    :param index: which items carry one: all, all but the first, or none; ``zeros``: always 0.
    :param sorts: whether items come by the length of their texts, the longest first.
    :param most_items: that an answer has, whatever was asked.
    :param echo: the model that answers name; ``{model}`` is the one requested. ``None``: null.
    :param base64: whether it is answered, refused by this status, or ignored (floats).
    :param dimensions: the same of a request's ``dimensions``.
    :param largest_batch: inputs in one request; more are refused by ``batch_status``.
    :param most_tokens: the same for the tokens of a request.
    :param usage: whether answers say what is billed.
    :param length: of the vectors; 1 from OpenAI.
    :param per_token: a vector per token instead of one per text.
    :param key_refusal: status and body for a key that is not valid.
    :param model_refusal: status and body for a model that is not served.
    :param upstream_in_200: an ordered 503 comes as a 200 with an error in it.
    :param fails_on: a text with these words fails the request with a 500, each time.
    :param classic_azure: deployments in the path, ``api-version``, and the key in ``api-key``.
    """

    index: Literal["all", "not zero", "none", "zeros"] = "all"
    sorts: bool = False
    most_items: int | None = None
    echo: str | None = "{model}"
    base64: int | Literal["answered", "ignored"] = "answered"
    dimensions: int | Literal["answered", "ignored"] = "answered"
    largest_batch: int | None = None
    batch_status: int = 400
    most_tokens: int | None = None
    usage: bool = True
    length: float = 1.0
    per_token: bool = False
    key_refusal: tuple[int, object] | None = None
    model_refusal: tuple[int, object] | None = None
    upstream_in_200: bool = False
    fails_on: str = ""
    classic_azure: bool = False


_GEMINI_KEY = [
    {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"reason": "API_KEY_INVALID", "domain": "googleapis.com"}],
        }
    }
]
_NO_CHANNEL = {"error": {"message": "no channel", "code": "model_not_found"}}
_NO_KEY = {"error": {"message": "no such key", "code": 401}}

DIALECTS: dict[str, Dialect] = {
    "openai": Dialect(),
    "gemini": Dialect(index="not zero", key_refusal=(400, _GEMINI_KEY), largest_batch=100),
    "openrouter": Dialect(echo="vendor/{model}", upstream_in_200=True),
    "azure": Dialect(echo="text-embedding-3-small"),
    "azure-classic": Dialect(echo="text-embedding-3-small", classic_azure=True),
    "ada": Dialect(echo="text-embedding-ada-002-v2"),
    "litellm": Dialect(echo="ollama/nomic-embed-text"),
    "litellm-ollama": Dialect(base64=500, dimensions=400, usage=False),
    "vllm-2024": Dialect(base64=400, dimensions=400),
    "llamafile": Dialect(echo=None, index="none", dimensions="ignored", usage=False),
    "opea": Dialect(echo="", index="none", base64="ignored", dimensions="ignored", length=3.0),
    "file-path": Dialect(echo="/models/{model}-Q8_0.gguf", dimensions="ignored"),
    "upper-case": Dialect(echo="{MODEL}"),
    "latest": Dialect(echo="{model}:latest", dimensions="ignored"),
    "ollama-nan": Dialect(dimensions="ignored", fails_on="nan", echo="{model}"),
    "llama-cpp-tokens": Dialect(per_token=True, base64="ignored", dimensions="ignored"),
    "tei": Dialect(base64="answered", dimensions="ignored", largest_batch=32, batch_status=413),
    "dashscope": Dialect(largest_batch=10, batch_status=400),
    "tei-8": Dialect(largest_batch=8, batch_status=422, dimensions=422),
    "tokens-413": Dialect(most_tokens=60, batch_status=413),
    "mistral": Dialect(dimensions=422, base64="ignored"),
    "one-text": Dialect(largest_batch=1),
    "all-zero": Dialect(index="zeros"),
    "short-answers": Dialect(most_items=5),
    "sorting": Dialect(index="none", sorts=True),
    "gateway": Dialect(model_refusal=(503, _NO_CHANNEL), key_refusal=(200, _NO_KEY)),
}
"""By the name of a server, or of what is peculiar about it."""
