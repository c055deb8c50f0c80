"""``rag-assets watch``: take in documents as they are dropped, and start runs without waiting."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Annotated

import typer

from rag_assets.cli.opening import ui_address
from rag_assets.cli.output import errors_as_sentences
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.migrations import open_migrated
from rag_assets.secrecy import MaskingFormatter
from rag_assets.settings.model import load_settings, refuse_contradictions


def watch(
    dagster: Annotated[
        str | None,
        typer.Option(help="Address of Dagster's UI: that of `rag-assets up`, or RAG_PUBLIC_URL."),
    ] = None,
) -> None:
    """Take in documents as they are dropped, and start their runs, until Ctrl-C.

    `rag-assets up` starts it. Without it, the sensors do the same, up to 20 seconds later.

    ```
    rag-assets watch --dagster http://127.0.0.1:3000
    ```
    """
    from rag_assets.operations.dagster_ui import DagsterUi  # noqa: PLC0415
    from rag_assets.operations.waking import Watch  # noqa: PLC0415

    with errors_as_sentences():
        settings = load_settings()
        refuse_contradictions()
        url = dagster or ui_address(settings)
        if url is None:
            raise ConfigurationError("the address of Dagster's UI is unknown: set --dagster")
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)-7s %(message)s"))
        logging.basicConfig(handlers=[handler])
        logging.getLogger("rag_assets").setLevel(logging.INFO)
        running = Watch(open_migrated(settings), settings, DagsterUi(url))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: running.stop())
        running.run()
