"""Dagster's code server, whose runs start warm: ``python -m rag_assets.defs.code_server OPTIONS``.

It takes the options of ``dagster api grpc``. A run is still a process of its own, but it is forked
from one that has loaded the definitions (:mod:`.warm`) instead of loading them itself, which takes
2.5 s of CPU time. If that process is killed, the next run starts it again.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing import forkserver

from rag_assets.defs.dagster_private import serve_code


def main() -> None:
    """Serve until a signal ends the process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rag_assets.defs.warm"])
    forkserver.ensure_running()  # it loads while the server does
    serve_code(sys.argv[1:], context)


if __name__ == "__main__":
    main()
