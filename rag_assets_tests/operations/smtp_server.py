"""A local mail server that keeps mails and logins."""

from __future__ import annotations

import base64
import email
import email.policy
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from threading import Thread


@dataclass
class Mailbox:
    """The received mails, in order.

    :param address: host and port of the server.
    :param logins: name and password of each login.
    """

    address: str
    messages: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def receiving_mail() -> Iterator[Mailbox]:
    """Listen on a free port until the block ends."""
    mailbox = Mailbox("")

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 ready")
            while line := self.rfile.readline():
                match line.split()[0].upper():
                    case b"EHLO":
                        self._say("250-here", "250 AUTH PLAIN")
                    case b"AUTH":
                        _, name, password = base64.b64decode(line.split()[2]).decode().split("\0")
                        mailbox.logins.append((name, password))
                        self._say("235 welcome")
                    case b"DATA":
                        self._say("354 go on")
                        mailbox.messages.append(self._message())
                        self._say("250 taken")
                    case b"QUIT":
                        self._say("221 bye")
                        return
                    case _:
                        self._say("250 well")

        def _message(self) -> EmailMessage:
            lines = b"".join(iter(self.rfile.readline, b".\r\n"))
            return email.message_from_bytes(lines, policy=email.policy.default)  # type: ignore[return-value]

        def _say(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        mailbox.address = f"127.0.0.1:{server.server_address[1]}"
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join()
