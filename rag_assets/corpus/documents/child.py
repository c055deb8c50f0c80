"""The process that reads documents, one after another, for :class:`.sandbox.Extractor`.

It is asked by a line of JSON on its standard input and answers by lines of JSON: what the document
is or what is wrong with it, then a line for each chunk. It ends when its input does, and so with
its parent. What it may take is bounded here as a second line; the parent watches the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rag_assets.corpus.documents.extract import read_document
from rag_assets.corpus.documents.model import ExtractionLimits
from rag_assets.corpus.documents.tokens import count_tokens
from rag_assets.errors import DocumentError

OUT_OF_MEMORY = "memory"
UNREADABLE = "unreadable"
FAILED = "failed"


def main() -> None:
    """Answer until the input ends. The limits are the only argument, as JSON."""
    limits = ExtractionLimits(**json.loads(sys.argv[1]))
    _bound(limits)
    # The libraries may print; what they print must not be taken for an answer.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(asked,), daemon=True).start()
        count_tokens("ready")
        _send(answers, [{}])
        while True:
            request = json.loads(asked.get())
            _bound_time(limits)
            _send(answers, _answer(Path(request["path"]), request["name"], limits))


def _listen(asked: queue.SimpleQueue[bytes]) -> None:
    """Take requests; at their end leave at once, whatever is being read."""
    for line in sys.stdin.buffer:
        asked.put(line)
    os._exit(0)


def _answer(path: Path, name: str, limits: ExtractionLimits) -> Iterator[Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        yield {UNREADABLE: str(error)}
        return
    try:
        document = read_document(content, name, limits)
    except DocumentError as error:
        yield {"error": type(error).__name__, "reason": error.reason}
    except MemoryError:
        yield {OUT_OF_MEMORY: True}
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a Rust library is no Exception
        yield {FAILED: f"{type(error).__name__}: {error}"[:300]}
    else:
        del content
        yield {
            "title": document.title,
            "media_type": document.media_type,
            "language": document.language,
            "pages": document.pages,
            "characters": document.characters,
            "seconds": dict(document.seconds),
            "chunks": len(document.chunks),
        }
        for chunk in document.chunks:
            yield [chunk.text, chunk.heading, chunk.page, chunk.tokens]


def _send(answers: BinaryIO, lines: Any) -> None:
    for line in lines:
        answers.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    answers.flush()


def _bound(limits: ExtractionLimits) -> None:
    """Let the system end this process where the parent does not come to it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Twice the limit: what is only reserved counts here, what is used is watched by the parent.
    most = 2 * limits.memory_bytes
    with contextlib.suppress(ValueError, OSError):  # not to be had on every system
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go, not the database


def _bound_time(limits: ExtractionLimits) -> None:
    """CPU seconds of the next document: several times its wall time, for it may use threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + 4 * limits.seconds + 10)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


if __name__ == "__main__":
    main()
