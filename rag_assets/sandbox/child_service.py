"""The service in a child process that reads files: it answers requests one by one.

A request is a line of JSON on standard input, a socket that may also pass an open file; an answer
is lines of JSON. The process ends when its input does, and thus with its parent. The parent,
:mod:`.child_process`, enforces the limits; those set here are the second line of defence.
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
_RECEIVE_BYTES = 65_536

Answer = Callable[[dict[str, Any], FileIO | None], Iterable[Any]]
_Request = tuple[bytes, int | None]


def serve(answer: Answer, *, memory_bytes: int, seconds: float) -> NoReturn:
    """Answer until the input ends.

    An answer that fails unexpectedly is the line ``{"memory": true}`` or ``{"failed": reason}``.

    :param answer: makes the lines of an answer from a request and the file passed with it.
    :param memory_bytes: the parent's memory limit; a multiple of it is enforced here.
    :param seconds: the parent's time limit for an answer.
    """
    _bound_memory(memory_bytes)
    # Libraries may print, and their output must not be taken for an answer.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        Thread(target=_listen, args=(requests,), daemon=True).start()
        _send(answers, [{}])
        while True:
            request, descriptor = requests.get()
            _bound_time(seconds)
            _send(answers, _guarded(answer, json.loads(request), descriptor))


def _listen(requests: queue.SimpleQueue[_Request]) -> None:
    """Receive requests; at the end of the input, exit immediately, whatever is being read."""
    with socket.socket(fileno=0) as incoming:
        line, descriptor = b"", None
        while True:
            piece, came, _, _ = socket.recv_fds(incoming, _RECEIVE_BYTES, 1)
            if not piece:
                os._exit(0)
            line += piece
            descriptor = came[0] if came else descriptor
            if line.endswith(b"\n"):
                requests.put((line, descriptor))
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
    """Have the system end this process if the parent does not."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Twice the limit: this also counts memory that is reserved but unused; the parent does not.
    limit = 2 * memory_bytes
    with contextlib.suppress(ValueError, OSError):  # not supported on every system
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # killed first, before the database


def _bound_time(seconds: float) -> None:
    """Limit the next answer's CPU time to several times its wall time, as it may use threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + 4 * seconds + 10)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
