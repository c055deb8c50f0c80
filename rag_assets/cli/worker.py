"""``rag-assets worker``: execute runs that Dagster's daemon on another machine sends."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from rag_assets.cli.options import COUNT
from rag_assets.cli.output import err, errors_as_sentences
from rag_assets.errors import ConfigurationError
from rag_assets.operations.broker import QUEUES, open_broker
from rag_assets.secrecy import MaskingFormatter
from rag_assets.settings.model import load_settings, refuse_contradictions


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this queue; may be repeated. Default: {' and '.join(QUEUES)}."),
    ] = None,
    runs: Annotated[
        int, typer.Option(**COUNT, help="Concurrent runs, each in its own process.")
    ] = 2,
) -> None:
    """Execute runs that Dagster's daemon sends through RAG_CELERY_BROKER_URL, until Ctrl-C.

    Ctrl-C or SIGTERM lets the current runs finish. After a second Ctrl-C they are abandoned, and
    another worker starts them again. DAGSTER_HOME must contain deploy/celery/dagster.yaml: see
    docs/deployment.md.

    ```
    rag-assets worker --queue rag_processing --runs 4
    ```
    """
    with errors_as_sentences():
        queues = tuple(dict.fromkeys(queue or QUEUES))
        if unknown := [name for name in queues if name not in QUEUES]:
            raise ConfigurationError(
                f"there is no queue {', '.join(unknown)}: the queues are {' and '.join(QUEUES)}"
            )
        settings = load_settings()
        refuse_contradictions()
        if not os.environ.get("DAGSTER_HOME"):
            raise ConfigurationError(
                "DAGSTER_HOME is not set: set it to a folder with a copy of "
                "deploy/celery/dagster.yaml"
            )
        if settings.rag_database_url is None:
            raise ConfigurationError(
                "RAG_DATABASE_URL is not set: a worker needs the hub's database, and would start "
                "one of its own"
            )
        broker = open_broker(settings)
        # Dagster and Celery take 3 s to import: here, so that the other commands do not wait.
        from rag_assets.defs.celery_worker import work  # noqa: PLC0415

        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)-7s %(message)s"))
        logging.basicConfig(handlers=[handler])
        for name in ("celery", "rag_assets"):
            logging.getLogger(name).setLevel(logging.INFO)
        err.print(f"taking up to {runs} concurrent runs from {' and '.join(queues)}")
        status = work(broker, queues, runs, lost_s=settings.rag_celery_lost_s)
    raise typer.Exit(status)
