"""The least that a server can do with a request: what the load generator costs without one.

    python -m benchmarks.retrieve.trivial PORT

It reads each request to its end and answers 3 kB that were made before.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

_BODY = b'{"hits": "' + b"x" * 3000 + b'"}'
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Trivial(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._waiting, self._got = -1, b""

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._waiting < 0:
            head, end, _ = self._got.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._waiting = len(head) + 4 + int(length or 0)
        if len(self._got) >= self._waiting:
            self._waiting, self._got = -1, b""
            self._transport.write(_ANSWER)  # type: ignore[attr-defined]


async def serve(port: int) -> None:
    """Until it is told to end."""
    server = await asyncio.get_running_loop().create_server(Trivial, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
