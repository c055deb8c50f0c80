"""HTTP as uvicorn speaks it; only what is no HTTP at all is refused as a problem, too."""

from __future__ import annotations

import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rag_assets.api import request_id as ids
from rag_assets.api.problems import ProblemError, problem

log = logging.getLogger("rag_assets.api")


class Protocol(HttpToolsProtocol):
    """No request ever came to be, so that neither the app nor its middleware sees it."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, and close the connection."""
        mine = ids.choose(None)
        token = ids.request_id.set(mine)
        try:
            answer = problem(
                ProblemError(400, "not-http", msg, headers={"Connection": "close"}),
            )
            log.info("not HTTP")
        finally:
            ids.request_id.reset(token)
        headers = [*answer.raw_headers, (ids.HEADER, mine.encode("latin-1"))]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + bytes(answer.body))
        self.transport.close()
