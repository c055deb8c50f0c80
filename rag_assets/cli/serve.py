"""``rag-assets serve``: the retrieval API."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from typing import Annotated

import typer

from rag_assets import tracing
from rag_assets.api import logs
from rag_assets.api.connections import raise_open_files
from rag_assets.api.sql.keys import any_key
from rag_assets.cli.opening import refuse_taken, settings_with
from rag_assets.cli.options import within
from rag_assets.cli.output import err, errors_as_sentences, plain
from rag_assets.errors import ConfigurationError, DatabaseUnavailableError
from rag_assets.postgres.database import Database, open_database, open_replica
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.loopback import is_loopback
from rag_assets.settings.model import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on: RAG_API_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(**within("rag_api_port"), help="Its port: RAG_API_PORT.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(**within("rag_api_workers"), help="Processes: RAG_API_WORKERS.")
    ] = None,
) -> None:
    """Serve the retrieval API until Ctrl-C. Requests in flight are answered first.

    ```
    rag-assets serve --port 8000 --workers 2
    ```
    """
    with errors_as_sentences():
        settings = settings_with(rag_api_host=host, rag_api_port=port, rag_api_workers=workers)
        database, replica = open_database(settings), open_replica(settings)
        try:
            migrate(database)
        except DatabaseUnavailableError as error:
            if replica is None:
                raise
            err.print(f"[yellow]starting with the replica only:[/yellow] {plain(error)}")
            database = replica
        refuse_open_to_all(settings, database)
        refuse_taken(settings.rag_api_host, settings.rag_api_port, "--port")
        tracing.set_up(settings, "rag_assets-api")
        _run(settings)


def refuse_open_to_all(settings: Settings, database: Database) -> None:
    """Refuse to listen on more than loopback while no API key exists."""
    with database.connect() as connection:
        exists = any_key(connection)
    if exists:
        return
    if not is_loopback(settings.rag_api_host):
        raise ConfigurationError(
            f"no API key exists, and {settings.rag_api_host} can be reached from other machines: "
            "create one (`rag-assets keys create NAME`), or listen on 127.0.0.1"
        )
    err.print("no API key exists: listening on loopback only, without authentication")


def _run(settings: Settings) -> None:
    """Run uvicorn in this process; its workers read these settings from the environment."""
    with tempfile.TemporaryDirectory(prefix="rag-metrics-") as folder:
        # prometheus_client reads this when it is imported: there the workers share their counters.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ["RAG_API_HOST"] = settings.rag_api_host
        # uvicorn raises the signal again when all is closed: delete the folder first.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: sys.exit(0))
        import uvicorn  # noqa: PLC0415 -- a quarter of a second

        logs.set_up(settings)  # of the process that supervises the workers
        raise_open_files()  # the workers inherit it
        uvicorn.run(
            "rag_assets.api.app:create_app",
            factory=True,
            host=settings.rag_api_host,
            port=settings.rag_api_port,
            workers=settings.rag_api_workers,
            loop="uvloop" if sys.platform != "win32" else "asyncio",
            http="rag_assets.api.protocol:Protocol",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=settings.rag_api_shutdown_s,
            timeout_keep_alive=30,
            # A starting worker must answer health checks, too: with uvicorn's 5 s, on a busy
            # machine each worker was killed before it was ready, endlessly.
            timeout_worker_healthcheck=60,
            server_header=False,
        )
