"""The id of the current request, available everywhere."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

from rag_assets.tracing import trace_id

HEADER = b"x-request-id"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:\-]{1,128}")

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def choose(presented: str | None) -> str:
    """The client's own id if it is safe in a log line, otherwise the trace's, or a new one."""
    if presented is not None and _ACCEPTABLE.fullmatch(presented):
        return presented
    return trace_id() or uuid.uuid4().hex
