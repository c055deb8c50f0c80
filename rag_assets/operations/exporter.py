"""The metrics over HTTP, without the API: for a host that runs the pipeline only."""

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
"""As the API's. ``/healthz`` asks no database."""

_POLL_S = 0.1
"""How soon the server notices that it is to end."""


class _Quiet(WSGIRequestHandler):
    """A line a scrape tells nobody anything. A client that says nothing gives its thread back."""

    timeout = 10

    def handle(self) -> None:
        """One request; of a client that stays silent or leaves there is nothing to answer."""
        with suppress(TimeoutError, ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class _SixServer(ThreadingWSGIServer):
    address_family = socket.AF_INET6


@contextmanager
def exporting(metrics: OperationsMetrics, *, host: str, port: int) -> Iterator[str]:
    """Serve the metrics in threads until the block ends; their address.

    :param port: 0 takes a free one.
    :raises ConfigurationError: the address cannot be listened on.
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
