"""Errors as problem details (RFC 9457), with the request's id and without a stack trace."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from rag_assets import errors
from rag_assets.api.request_id import request_id
from rag_assets.visible import reworded

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
log = logging.getLogger("rag_assets.api")


@dataclass
class ProblemError(Exception):
    """An error to be returned as a problem.

    :param kind: two or three hyphenated words, the end of the problem's type.
    """

    status: int
    kind: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)


def problem_body(error: ProblemError) -> dict[str, object]:
    """The problem details of an error."""
    return {
        "type": f"urn:rag-assets:problem:{error.kind}",
        "title": error.kind.replace("-", " "),
        "status": error.status,
        "detail": error.detail,
        "request_id": request_id.get(),
        **error.extra,
    }


def problem(error: ProblemError) -> Response:
    """The response for an error."""
    return Response(
        # It may quote an unpaired surrogate from the client, which UTF-8 cannot encode.
        json.dumps(problem_body(error), ensure_ascii=False).encode(errors="replace"),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=dict(error.headers),
    )


_PLAIN: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.NotReleasedError, 503, "nothing-released"),
    (errors.DatabaseBusyError, 503, "database-busy"),
    (errors.DatabaseUnavailableError, 503, "database-unavailable"),
    (errors.AuditError, 503, "vectors-damaged"),
    (errors.InboxUnavailableError, 503, "inbox-unavailable"),
    (errors.SearchTimeoutError, 504, "search-timeout"),
    (errors.RateLimitedError, 503, "provider-busy"),
    (errors.ProviderUnavailableError, 502, "provider-unavailable"),
    (errors.AuthenticationError, 502, "provider-refuses"),
    (errors.QuotaExceededError, 502, "provider-refuses"),
    (errors.ProviderAnswerError, 502, "provider-answer"),
    (errors.InputRejectedError, 422, "query-rejected"),
    (errors.ConfigurationError, 503, "no-provider-key"),
)
_HTTP = {400: "not-json", 404: "not-found", 405: "method-not-allowed"}
_WRONG = {"version-withheld": 403, "not-for-this-key": 403, "name-taken": 409}
_NEEDS_NO_PROVIDER = ("provider-busy", "no-provider-key")


def as_problem(error: Exception) -> ProblemError:
    """The problem for an error. Any unexpected error is a plain 500."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, errors.RequestError):
        return _wrong_request(error)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        kind = _HTTP.get(error.status_code, "http-error")
        return ProblemError(error.status_code, kind, str(error.detail), headers=error.headers or {})
    for kind_of_error, status, kind in _PLAIN:
        if isinstance(error, kind_of_error):
            return _known(error, status, kind)
    return ProblemError(500, "internal-error", "an internal error occurred; it was logged")


def _known(error: Exception, status: int, kind: str) -> ProblemError:
    detail = str(error)
    if isinstance(error, errors.ProviderUnavailableError) and error.timed_out:
        status, kind = 504, "provider-timeout"
    if kind in _NEEDS_NO_PROVIDER:
        detail += ". A request with a vector needs no provider"
    headers = {}
    if isinstance(error, errors.TransientError | errors.NotReleasedError):
        wait = getattr(error, "retry_after_s", None) or RETRY_AFTER_S
        headers["Retry-After"] = str(max(RETRY_AFTER_S, round(wait)))
    return ProblemError(status, kind, detail, headers=headers)


def _wrong_request(error: errors.RequestError) -> ProblemError:
    extra: dict[str, object] = {"field": error.field}
    if error.choices:
        extra["choices"] = list(error.choices)
    status = _WRONG.get(error.kind, 422)
    return ProblemError(status, error.kind, str(error), extra=extra)


def _invalid(error: RequestValidationError) -> ProblemError:
    faults = [
        {
            "field": ".".join(str(part) for part in fault["loc"] if part not in ("body", "query"))
            or "body",
            "message": reworded(fault["msg"]),
        }
        for fault in error.errors()
    ][:20]
    first = faults[0]
    kind = error.errors()[0]["type"]
    if kind == "json_invalid":
        return ProblemError(400, "not-json", "the body is not JSON")
    if kind == "model_attributes_type" and first["field"] == "body":
        first["message"] = "send a JSON object, with Content-Type: application/json"
    return ProblemError(
        422, "invalid-request", f"{first['field']}: {first['message']}", extra={"faults": faults}
    )


def install(app: FastAPI) -> None:
    """Return every error of the app as a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        found = as_problem(error)
        if found.status == 405 and (methods := app.openapi()["paths"].get(request.url.path)):
            # Each method of a path is its own route, and the router lists only the first one's.
            found.headers = {"Allow": ", ".join(sorted(method.upper() for method in methods))}
        if found.status == 500:
            log.error("unexpected error", exc_info=error)
        return problem(found)

    for kind in (ProblemError, errors.RagAssetsError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)
