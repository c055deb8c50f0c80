"""Index maintenance in a separate process, to be killed.

Forked from a server that has imported everything, so that it is there in milliseconds.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerProcess

from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["rag_assets_tests.index.processes"])


def maintain_in_process(
    database: Database, settings: Settings, table: VectorTable, request: IndexRequest
) -> ForkServerProcess:
    """Start the maintenance of one table."""
    process = _context.Process(target=_maintain, args=(database, settings, table, request))
    process.start()
    return process


def _maintain(
    database: Database, settings: Settings, table: VectorTable, request: IndexRequest
) -> None:
    maintain(database, settings, table, request, run_id="to be killed", progress=Silent())
