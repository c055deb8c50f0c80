"""What runs in a child process that reads files: it takes requests and answers them, one by one.

It is asked by a line of JSON on its standard input, a socket that may carry an open file, too, and
answers by lines of JSON. It ends when its input does, and so with its parent. What it may take is
bounded here as a second line; its parent, :mod:`.child_process`, watches the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import resource
import socket
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, NoReturn

OUT_OF_MEMORY = "memory"
FAILED = "failed"
_MAX_REQUEST_BYTES = 65_536

Answer = Callable[[dict[str, Any], FileIO | None], Iterable[Any]]
_Asked = tuple[bytes, int | None]


def serve(answer: Answer, *, memory_bytes: int, seconds: float) -> NoReturn:
    """Answer until the input ends.

    An answer that fails unexpectedly is the line ``{"memory": true}`` or ``{"failed": reason}``.

    :param answer: makes the lines of an answer, of a request and the file that came with it.
    :param memory_bytes: that the parent allows; a multiple of it ends the process here.
    :param seconds: that the parent allows for an answer.
    """
    _bound_memory(memory_bytes)
    # The libraries may print; what they print must not be taken for an answer.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        Thread(target=_listen, args=(asked,), daemon=True).start()
        _send(answers, [{}])
        while True:
            request, descriptor = asked.get()
            _bound_time(seconds)
            _send(answers, _guarded(answer, json.loads(request), descriptor))


def _listen(asked: queue.SimpleQueue[_Asked]) -> None:
    """Take requests; at their end leave immediately, whatever is being read."""
    with socket.socket(fileno=0) as requests:
        line, descriptor = b"", None
        while True:
            piece, came, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, 1)
            if not piece:
                os._exit(0)
            line += piece
            descriptor = came[0] if came else descriptor
            if line.endswith(b"\n"):
                asked.put((line, descriptor))
                line, descriptor = b"", None


def _guarded(answer: Answer, request: dict[str, Any], descriptor: int | None) -> Iterable[Any]:
    try:
        with contextlib.nullcontext() if descriptor is None else FileIO(descriptor) as file:
            yield from answer(request, file)
    except MemoryError:
        yield {OUT_OF_MEMORY: True}
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a Rust library is no Exception
        yield {FAILED: f"{type(error).__name__}: {error}"[:300]}


def _send(answers: BinaryIO, lines: Iterable[Any]) -> None:
    for line in lines:
        answers.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    answers.flush()


def _bound_memory(memory_bytes: int) -> None:
    """Let the system end this process where the parent does not come to it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Twice the limit: what is only reserved counts here, what is used is watched by the parent.
    most = 2 * memory_bytes
    with contextlib.suppress(ValueError, OSError):  # not to be had on every system
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go, not the database


def _bound_time(seconds: float) -> None:
    """CPU seconds of the next answer: several times its wall time, for it may use threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + 4 * seconds + 10)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
