"""Runs that embed in processes of their own, to be waited for or killed.

Forked from a server that has imported everything, so that each is there in milliseconds.
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from typing import Any

from rag_assets.bible.embed_verses import EmbedOptions, embed_version
from rag_assets.errors import RagAssetsError
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["rag_assets_tests.bible.processes", "rag_assets.embedding.providers.openai_client"]
)


def embed_in_process(
    database: Database, settings: Settings, code: str, options: EmbedOptions | None = None
) -> ForkServerProcess:
    """Start embedding a version's small space; the exit code is 0, or 1 for an error of ours."""
    process = _context.Process(
        target=_embed, args=(database, settings, code, options or EmbedOptions())
    )
    process.start()
    return process


def embed_until_killed(
    database: Database, settings: Settings, code: str, options: EmbedOptions, point: str, call: int
) -> int | None:
    """Embed a version's small space in a process that kills itself at a call; its exit code.

    :param point: a function as ``module:Class.method``.
    :param call: which of its calls.
    """
    process = _context.Process(
        target=_embed_until_killed, args=(database, settings, code, options, point, call)
    )
    process.start()
    process.join(120)
    return process.exitcode


def _embed_until_killed(
    database: Database, settings: Settings, code: str, options: EmbedOptions, point: str, call: int
) -> None:
    module, _, name = point.partition(":")
    class_name, _, method = name.partition(".")
    owner = getattr(importlib.import_module(module), class_name)
    before = getattr(owner, method)
    calls = itertools.count(1)

    def killing(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments, **options)

    setattr(owner, method, killing)
    _embed(database, settings, code, options)


def _embed(database: Database, settings: Settings, code: str, options: EmbedOptions) -> None:
    failed = True
    with suppress(RagAssetsError):
        embed_version(database, settings, code, options, "small", run_id=f"process for {code}")
        failed = False
    if failed:
        raise SystemExit(1)
