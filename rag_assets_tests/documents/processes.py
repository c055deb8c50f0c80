"""Runs over the queue in separate processes, to be stopped, awaited or killed.

Forked from a server that has imported everything, so that each is there in milliseconds.
"""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from multiprocessing.context import ForkServerProcess

import psutil

from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.worker import process_documents
from rag_assets.errors import RagAssetsError
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["rag_assets_tests.documents.processes", "rag_assets.embedding.providers.openai_client"]
)
READER = "rag_assets.documents.child"


def process_elsewhere(
    database: Database, settings: Settings, lane: str, run_id: str
) -> ForkServerProcess:
    """Start a run; its exit code is 0, or 1 for a ``RagAssetsError``."""
    process = _context.Process(target=_process, args=(database, settings, lane, run_id))
    process.start()
    return process


def _process(database: Database, settings: Settings, lane: str, run_id: str) -> None:
    failed = True
    with suppress(RagAssetsError):
        process_documents(database, settings, open_inbox(settings), run_id=run_id, lane=lane)
        failed = False
    if failed:
        raise SystemExit(1)


def readers() -> list[psutil.Process]:
    """The reader processes of this process and its children."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if READER in child.cmdline():
                found.append(child)
    return found
