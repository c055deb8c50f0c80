"""Spans of OpenTelemetry, with the names of its conventions for HTTP, databases and GenAI.

Until :func:`set_up` is called with a collector's address nothing of OpenTelemetry is imported and a
span costs nothing. Spans hold names, counts and classes of errors, never a query or a passage.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Literal

from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import Settings

HEADER = b"traceparent"
Kind = Literal["INTERNAL", "SERVER", "CLIENT"]
Attributes = Mapping[str, str | int | float | bool | None]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_incoming: ContextVar[str | None] = ContextVar("traceparent", default=None)
_provider: Any = None
_tracer: Any = None


class Span:
    """What a span can be given while it is open; nothing if none is recorded."""

    def __init__(self, recorded: Any = None) -> None:
        self._recorded = recorded

    def set(self, attributes: Attributes) -> None:
        """Set attributes; one that is ``None`` is left out."""
        if self._recorded is not None:
            self._recorded.set_attributes(_known(attributes))

    def rename(self, name: str) -> None:
        """Give it a better name."""
        if self._recorded is not None:
            self._recorded.update_name(name)

    def fail(self, kind: str) -> None:
        """Mark it as failed."""
        if self._recorded is not None:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415

            self._recorded.set_attribute("error.type", kind)
            self._recorded.set_status(StatusCode.ERROR)


NO_SPAN = Span()


def set_up(settings: Settings, service: str) -> None:
    """Send spans to ``RAG_OTLP_ENDPOINT`` from now on, if it is set; once per process.

    :param service: the name of this part of the system, such as ``rag_assets-api``.
    :raises ConfigurationError: the extra ``telemetry`` is not installed.
    """
    global _provider, _tracer  # noqa: PLW0603
    if not settings.rag_otlp_endpoint or _provider is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 -- slow
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "RAG_OTLP_ENDPOINT is set, but the packages that send traces are not installed: "
            "install rag-assets[telemetry], or unset it"
        ) from None
    about = {"service.name": service, "service.version": version("rag-assets")}
    _provider = TracerProvider(resource=Resource.create(about))
    address = f"{settings.rag_otlp_endpoint.rstrip('/')}/v1/traces"
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
    # Not the global provider: with that, FastAPI sends URLs, and so the queries in them.
    _tracer = _provider.get_tracer("rag_assets", version("rag-assets"))


def flush() -> None:
    """Send what was recorded, before the process may end."""
    if _provider is not None:
        _provider.force_flush(5_000)


@contextmanager
def span(
    name: str,
    attributes: Attributes,
    *,
    kind: Kind = "INTERNAL",
    parent: str | None = None,
) -> Iterator[Span]:
    """Record a span around a block; an error that leaves the block marks it as failed.

    :param parent: the ``traceparent`` of a span of another process, instead of the current span.
    """
    if _tracer is None:
        yield NO_SPAN
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    with _tracer.start_as_current_span(
        name,
        context=_propagator().extract({"traceparent": parent}) if parent else None,
        kind=SpanKind[kind],
        attributes=_known(attributes),
        record_exception=False,  # its message may quote a text
        set_status_on_exception=False,
    ) as recorded:
        found = Span(recorded)
        try:
            yield found
        except Exception as error:
            found.fail(type(error).__name__)
            raise


@contextmanager
def request_span(method: str, traceparent: str | None) -> Iterator[Span]:
    """Record a request that this process answers, as a part of the client's trace if it has one."""
    valid = traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None
    token = _incoming.set(valid)
    try:
        about = {"http.request.method": method}
        with span(method, about, kind="SERVER", parent=valid) as found:
            yield found
    finally:
        _incoming.reset(token)


@contextmanager
def run_span(name: str, run_id: str, attributes: Attributes) -> Iterator[Span]:
    """Record a step of a run; the steps of a run are one trace, whose id is the run's."""
    number = uuid.UUID(run_id)
    first = f"00-{number.hex}-{number.hex[16:]}-01"
    try:
        with span(name, attributes, parent=first) as found:
            yield found
    finally:
        flush()


def trace_id() -> str | None:
    """The id of the current trace, or of the client's; 32 hexadecimal digits."""
    if _tracer is not None:
        from opentelemetry.trace import get_current_span  # noqa: PLC0415

        current = get_current_span().get_span_context()
        if current.is_valid:
            return f"{current.trace_id:032x}"
    found = _TRACEPARENT.fullmatch(_incoming.get() or "")
    return found[1] if found else None


def outgoing() -> dict[str, str]:
    """The headers of a request to another server, which make it a part of this trace."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        _propagator().inject(carrier)
    elif given := _incoming.get():
        carrier["traceparent"] = given
    return carrier


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator()


def _known(given: Attributes) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
