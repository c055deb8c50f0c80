"""``rag-assets exporter``: the metrics of the queue, the index and the runs over HTTP."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from rag_assets.cli.opening import settings_with
from rag_assets.cli.options import within
from rag_assets.cli.output import Json, errors_as_sentences, out, show_json
from rag_assets.postgres.database import dagster_database, open_database


def exporter(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on: RAG_EXPORTER_HOST.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            **within("rag_exporter_port"), help="Its port: RAG_EXPORTER_PORT; 0 takes a free one."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the metrics for Prometheus until Ctrl-C. The API serves them, too.

    ```
    rag-assets exporter --port 9808
    ```
    """
    # Here: `serve` sets the folder of its workers' counters before prometheus_client is imported.
    from rag_assets.operations.exporter import exporting  # noqa: PLC0415
    from rag_assets.operations.metrics import OperationsMetrics  # noqa: PLC0415

    with errors_as_sentences(as_json):
        settings = settings_with(rag_exporter_host=host, rag_exporter_port=port)
        # Nothing is migrated, and it starts while the database is unreachable: to report that is
        # what the exporter is for.
        metrics = OperationsMetrics(
            settings, corpus=open_database(settings), dagster=dagster_database(settings)
        )
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        address = settings.rag_exporter_host, settings.rag_exporter_port
        with exporting(metrics, host=address[0], port=address[1]) as url:
            if as_json:
                show_json({"event": "ready", "url": url})
            else:
                out.print(f"[bold green]ready:[/bold green] {url} — Ctrl-C stops it")
            stopping.wait()
    if not as_json:
        out.print("stopped")
