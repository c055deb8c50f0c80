"""Serving the application: say where, end on a signal, and never outlive an owner.

Only the process belongs here: one uvicorn worker, one event loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn

from openai_emulator.app import Settings, build_app

OWNER_POLL_S = 0.5
# Longer than any usual latency; a request that hangs is given up after it.
GRACE_S = 1


class Server(uvicorn.Server):
    """Prints its address as soon as it accepts."""

    def __init__(self, config: uvicorn.Config, owner: int | None) -> None:
        super().__init__(config)
        self._owner = owner
        self._watch: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets:
            host, port = sockets[0].getsockname()[:2]
            sys.stdout.write(f"listening on http://{host}:{port}\n")
            sys.stdout.flush()
        if self._owner is not None:
            self._watch = asyncio.create_task(self._end_with(self._owner))

    async def _end_with(self, owner: int) -> None:
        """An owner that was killed cannot stop us; but then our parent is another process."""
        while os.getppid() == owner:
            await asyncio.sleep(OWNER_POLL_S)
        self.should_exit = True


def end(signum: int, frame: FrameType | None) -> None:
    """uvicorn raises the signal anew once it has shut down; that then ends the process with 0."""
    raise SystemExit(0)


def serve(settings: Settings, *, host: str, port: int, owner: int | None = None) -> None:
    """Serve until a signal.

    :param port: 0 for a free one.
    :param owner: process id of the parent with which to end; ``None`` to stay.
    """
    # Set even where they were ignored by whoever started us (``nohup``, a background job).
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    config = uvicorn.Config(
        build_app(settings),
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,
    )
    with socket.create_server((host, port), backlog=512) as listener:
        Server(config, owner).run(sockets=[listener])
