"""What a server's refusal means: by the codes in its body first, then by its status.

No message is read: it is a sentence, and it may repeat the input or a part of the key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

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
from rag_assets.secrecy import word
from rag_assets.settings.model import fingerprint

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_REJECTED = (400, 413, 422)
_STATUSES = frozenset(map(str, range(400, 600)))
_LATER = (408, 409, 424, 425)  # 424: TEI's model failed
_CODE_FIELDS = ("code", "status", "type", "error_type")

# Compared without case and separators: model_not_found, ModelNotFound, MODEL-NOT-FOUND are one.
_KEY_CODES = frozenset(
    (
        *("invalidapikey", "incorrectapikey", "apikeyinvalid", "accountdeactivated"),
        *("unauthorized", "unauthenticated", "authenticationerror", "autherror"),
        *("invalidauthentication", "invalidtoken", "tokenexpired"),
        *("permissiondenied", "accessdenied", "401", "403"),
    )
)
_QUOTA_CODES = frozenset(
    (
        *("insufficientquota", "insufficientcredits", "insufficientbalance", "quotaexceeded"),
        *("billingnotactive", "billinghardlimitreached", "paymentrequired", "402"),
        *("insufficientuserquota", "arrearage", "allocationquotafreetieronly"),
    )
)
_MODEL_CODES = frozenset(
    (
        *("modelnotfound", "modelnotfounderror", "modelnotsupported", "invalidmodel"),
        *("unknownmodel", "deploymentnotfound", "operationnotsupported", "modelnotexist"),
        *("notfounderror", "notfound", "404"),
    )
)
_RATE_CODES = frozenset(
    ("ratelimitexceeded", "ratelimiterror", "toomanyrequests", "resourceexhausted", "429")
)


def refused_in(answer: Any) -> bool:
    """Whether a body is an error, whatever its status."""
    answer = answer[0] if isinstance(answer, list) and answer else answer
    if not isinstance(answer, dict) or answer.get("data"):
        return False
    return any(answer.get(name) for name in ("error", "errors", "code"))


def classify(status: int, body: Any, headers: Mapping[str, str], api_key: str) -> RagAssetsError:
    """The error of this package for a refusal.

    :param body: the parsed JSON, or ``None``.
    """
    codes = list(_codes(body))
    plain = {re.sub(r"[^a-z0-9]", "", code.lower()) for code in codes}
    shown = next((code for code in map(word, codes) if code), None)
    if status < 400:  # an error in an answer that claims to be good
        status = next((int(code) for code in codes if code in _STATUSES), 503)
    named = shown or str(status)
    key = f"key {fingerprint(api_key)}"
    if plain & _QUOTA_CODES or status == 402:
        return QuotaExceededError(f"{key} has no quota left: pay, or take it out")
    if plain & _MODEL_CODES or status == 404:
        return ConfigurationError(
            f"the embedding provider does not know the model or address ({named}): "
            "correct OPENAI_BASE_URL or the model's name in the settings"
        )
    if status == 429 or plain & _RATE_CODES:
        return RateLimitedError(f"{key} is rate limited", retry_after_s=_retry_after(headers))
    if plain & _KEY_CODES or status in (401, 403):
        return AuthenticationError(
            f"the embedding provider refuses {key} ({named}): correct OPENAI_API_KEY"
        )
    if status in _REJECTED:
        return InputRejectedError(f"the provider refuses the text ({named})")
    if status in _LATER or status >= 500:
        return ProviderUnavailableError(
            f"the embedding provider fails with status {status}", status=status
        )
    return ProviderAnswerError(f"the embedding provider answered status {status} ({named})")


def _codes(body: Any) -> Iterator[str]:
    """Every code in an error's body, the most specific first.

    OpenAI has ``error.code`` and ``error.type``; Gemini a list of one, with ``status`` and
    ``details[].reason``; TEI ``error_type`` beside a sentence.
    """
    body = body[0] if isinstance(body, list) and body else body
    if not isinstance(body, dict):
        return
    error = body.get("error") or body.get("errors")
    error = error[0] if isinstance(error, list) and error else error
    error = error if isinstance(error, dict) else {}
    if error.get("param") == "model":
        yield "invalid_model"
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str):
            yield detail["reason"]
    for part in (error, body):
        for name in _CODE_FIELDS:
            if isinstance(part.get(name), str | int):
                yield str(part[name])


def parse_duration(text: str) -> float:
    """Seconds in OpenAI's notation: ``120ms``, ``1s``, ``6m0s``; 0 where it says nothing."""
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in headers:
            try:
                seconds = float(headers[name]) * unit_s
            except ValueError:  # an HTTP date: no known server sends one here
                return None
            return max(0.0, seconds) if math.isfinite(seconds) else None
    resets = [
        parse_duration(headers[name])
        for name in ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")
        if name in headers
    ]
    return max(resets, default=None)


def rest_after(headers: Mapping[str, str]) -> float:
    """Seconds for which a key should rest: an answer says that nothing is left of a limit."""
    return max(
        (
            parse_duration(headers.get(f"x-ratelimit-reset-{unit}", ""))
            for unit in ("requests", "tokens")
            if headers.get(f"x-ratelimit-remaining-{unit}") == "0"
        ),
        default=0.0,
    )
