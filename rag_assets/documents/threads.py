"""Work that blocks, done in threads for an event loop; and tasks that end together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def in_thread(
    work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Do blocking work in a thread. When cancelled, wait until it is done: it cannot be stopped."""
    return await stoppable(None, work, *args, **kwargs)


async def stoppable(
    stop: Callable[[], None] | None,
    work: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """The same for work that can be stopped.

    :param stop: called when cancelled; makes the work end soon, whatever its result.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop:
            stop()
        with suppress(Exception):
            await task
        raise


async def finished(work: Coroutine[Any, Any, Result], grace_s: float) -> Result:
    """Await work; when cancelled, give it so many seconds to end by itself."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=grace_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise


async def until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run all of them until one ends or fails; then cancel the others and wait for them.

    :raises Exception: that of the one that failed first.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
