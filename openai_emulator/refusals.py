"""The answers by which OpenAI refuses a request: status, code and words as it gives them.

Only the wording belongs here; when to refuse is decided elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818 - it is an answer, and only travels as an exception
    """An answer in OpenAI's error shape."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> object:
        """What goes over the wire."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


class AsWritten(Refused):
    """A refusal in another server's shape."""

    def __init__(self, status: int, written: object) -> None:
        super().__init__(status, "")
        self._written = written

    def body(self) -> object:
        """What goes over the wire."""
        return self._written


def invalid_key(key: str) -> Refused:
    """401. OpenAI shows a key's first and last letters only."""
    if not key:
        return Refused(401, "You didn't provide an API key.")
    shown = f"{key[:8]}{'*' * 8}{key[-4:]}"
    return Refused(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


def unknown_model(model: str) -> Refused:
    """404."""
    return Refused(
        404,
        f"The model `{model}` does not exist or you do not have access to it.",
        code="model_not_found",
    )


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> Refused:
    """400."""
    return Refused(400, message, param=param, code=code)


def too_many_tokens(tokens: int, limit: int) -> Refused:
    """400; type and code are both ``max_tokens_per_request``."""
    kind = "max_tokens_per_request"
    return Refused(
        400, f"Requested {tokens} tokens, max {limit} tokens per request", type=kind, code=kind
    )


def rate_limited(message: str, *, unit: str, wait_s: float | None) -> Refused:
    """429 with how long to wait; without it, waiting does not help.

    :param unit: ``requests`` or ``tokens``: the error's type.
    :param wait_s: seconds; the header ``Retry-After`` has them rounded up.
    """
    headers = {}
    if wait_s is not None:
        headers = {
            "retry-after": str(math.ceil(wait_s)),
            "retry-after-ms": str(math.ceil(wait_s * 1000)),
        }
    return Refused(429, message, type=unit, code="rate_limit_exceeded", headers=headers)


def insufficient_quota() -> Refused:
    """429, and no wait will help."""
    return Refused(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        type="insufficient_quota",
        code="insufficient_quota",
    )


def server_error() -> Refused:
    """500."""
    return Refused(
        500, "The server had an error while processing your request. Sorry!", type="server_error"
    )


def unavailable() -> Refused:
    """503."""
    return Refused(
        503,
        "The engine is currently overloaded, please try again later.",
        type="service_unavailable",
    )


def echoed(status: int, shown_key: str) -> Refused:
    """Any status, by a server that repeats what it was sent in each word of its answer."""
    return Refused(
        status,
        f"{shown_key} was refused",
        type=shown_key,
        code=shown_key,
        param=shown_key,
        headers={"x-request-id": shown_key, "x-echo": shown_key},
    )


def poisoned() -> Refused:
    """400 for the whole request; which text is to blame it does not say."""
    return bad_request(
        "Invalid 'input': the request was refused.", param="input", code="invalid_input"
    )
