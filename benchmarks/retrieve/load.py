"""A closed loop of HTTP requests over connections that stay open; nothing but the standard library.

    python -m benchmarks.retrieve.load --port N --path P --bodies FILE --connections C --requests N

Run as a process of its own. Requests are bytes before the clock starts, answers are read as far as
their status and length. The last line is JSON: ``seconds``, ``statuses``, ``ms`` of each request in
the order in which they were sent, ``cpu_seconds`` of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import uvloop


@dataclass
class Loop:
    """What the connections share."""

    requests: list[bytes]
    turns: Iterator[int]
    until: int
    ms: dict[int, float] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)

    def next_turn(self) -> int | None:
        turn = next(self.turns)
        return turn if turn < self.until else None


class Client(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_exception(error or ConnectionError("the server hung up"))

    def start(self, loop: Loop) -> asyncio.Future[None]:
        """Send until there is nothing left to send."""
        self.closed = asyncio.get_running_loop().create_future()
        self._loop = loop
        self._send()
        return self.closed

    def close(self) -> None:
        self._transport.close()

    def _send(self) -> None:
        turn = self._loop.next_turn()
        if turn is None:
            self.closed.set_result(None)
            return
        self._turn, self._answer, self._length = turn, b"", -1
        request = self._loop.requests[turn % len(self._loop.requests)]
        self._started = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._length < 0:
            head, end, _ = self._answer.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._length = len(head) + 4 + int(length)
        if len(self._answer) >= self._length:
            self._loop.ms[self._turn] = (time.perf_counter() - self._started) * 1000
            self._loop.statuses[int(self._answer[9:12])] += 1
            self._send()


def request_bytes(path: str, body: str) -> bytes:
    """One POST as it goes over the wire."""
    content = body.encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Warm up, then measure, over the same connections."""
    bodies = options.bodies.read_text(encoding="utf-8").splitlines()
    requests = [request_bytes(options.path, body) for body in bodies]
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(Client, "127.0.0.1", options.port))[1]
        for _ in range(options.connections)
    ]
    start = options.start
    for much in (options.warm_up, options.requests):
        measured = Loop(requests, count(start), start + much)
        start += much
        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(client.start(measured) for client in clients))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    for client in clients:
        client.close()
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "statuses": measured.statuses,
        "ms": [measured.ms[turn] for turn in sorted(measured.ms)],
    }


def main() -> None:
    options = argparse.ArgumentParser(description="A closed loop of HTTP requests.")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--path", required=True)
    options.add_argument("--bodies", type=Path, required=True, help="a JSON body a line")
    options.add_argument("--connections", type=int, required=True)
    options.add_argument("--requests", type=int, required=True)
    options.add_argument("--warm-up", type=int, default=0)
    options.add_argument("--start", type=int, default=0, help="the first body to send")
    print(json.dumps(uvloop.run(run(options.parse_args()))))


if __name__ == "__main__":
    main()
