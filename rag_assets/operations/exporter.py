"""Serve the metrics over HTTP without the API, on hosts that run only the pipeline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app

from rag_assets.errors import ConfigurationError
from rag_assets.operations.metrics import OperationsMetrics

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/metrics/prometheus/"
"""The same path as the API's. ``/healthz`` does not query the database."""

_POLL_S = 0.1
"""How often the server checks whether to shut down."""


class _Quiet(WSGIRequestHandler):
    """Does not log scrapes; a client that sends nothing is dropped after ``timeout`` seconds."""

    timeout = 10

    def handle(self) -> None:
        """Handle one request; ignore clients that stay silent or disconnect."""
        with suppress(TimeoutError, ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _SixServer(ThreadingWSGIServer):
    address_family = socket.AF_INET6


@contextmanager
def exporting(metrics: OperationsMetrics, *, host: str, port: int) -> Iterator[str]:
    """Serve the metrics in threads until the block ends, and yield their URL.

    :param port: 0 for any free port.
    :raises ConfigurationError: the address cannot be bound.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    app = _application(make_wsgi_app(registry))
    server_class = _SixServer if ":" in host else ThreadingWSGIServer
    try:
        server = make_server(host, port, app, server_class, handler_class=_Quiet)
    except OSError as error:
        raise ConfigurationError(
            f"the exporter cannot listen on {host}:{port} ({error.strerror or error}): choose "
            "another RAG_EXPORTER_HOST or RAG_EXPORTER_PORT, or 0 for a free port"
        ) from None
    thread = threading.Thread(
        target=server.serve_forever, args=(_POLL_S,), name="exporter", daemon=True
    )
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}{PATH}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _application(metrics: WSGIApplication) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"].rstrip("/")
        if path in (PATH.rstrip("/"), "/metrics"):
            return metrics(environ, start_response)
        found = path == "/healthz"
        start_response(
            "200 OK" if found else "404 Not Found", [("Content-Type", "text/plain; charset=utf-8")]
        )
        return [b"alive\n" if found else f"the metrics are at {PATH}\n".encode()]

    return answer
