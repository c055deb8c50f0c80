"""What one look at the inbox leaves for the next: a cursor, as text. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"([0-9a-f]{64})?@(\d+)@(\d+)")


@dataclass(frozen=True, slots=True)
class Cursor:
    """What was seen.

    :param digest: of the listing; empty where something was left for the next look.
    :param at: when, in seconds since the epoch.
    :param last_id: the newest document that there was.
    """

    digest: str = ""
    at: int = 0
    last_id: int = 0

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """From its text; one that saw nothing for what is no cursor."""
        match = _TEXT.fullmatch(text or "")
        if match is None:
            return cls()
        return cls(match[1] or "", int(match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{self.digest}@{self.at}@{self.last_id}"

    def still_holds(self, digest: str, now: float, *, for_s: float) -> bool:
        """Whether the listing is the same, and the look not so long ago."""
        return bool(self.digest) and self.digest == digest and 0 <= now - self.at < for_s
