"""What was asked, answered and billed: the figures that prove that nothing is bought twice.

Only counting belongs here. The clock is passed in. Kept in memory; a reset begins anew.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

WINDOW_S = 60.0
MAX_EXAMPLES = 20


@dataclass(frozen=True)
class Stats:
    """The figures since the start or the last reset.

    An answer is billed when the server begins to send it, whether or not the client still
    lives; so one that is cut is billed too, and one that hangs is not. Texts are told apart by
    SHA-256, separately for each model and dimensions. Times are Unix times (s).

    :param requests: all that came to ``/v1/embeddings``, refused ones too.
    :param ok: answers with status 200 sent whole (with a distorted content too).
    :param by_status: by HTTP status (``"200"``), or ``"hang"`` or ``"cut"``.
    :param inputs_answered: vectors sent.
    :param tokens_billed: of all billed answers.
    :param distinct_texts: texts answered at least once.
    :param duplicate_texts: texts answered more than once.
    :param duplicate_answers: answers beyond the first of their text.
    :param duplicate_examples: up to 20 of them, the first 200 characters.
    :param max_requests_per_minute: most requests in any sliding 60 s, refused ones too.
    :param max_in_flight: most requests open at one time.
    :param rerankings: requests to ``/rerank``, which count nowhere else.
    :param traceparent: header of the last request, empty if it had none.
    :param cpu_s: CPU time of the emulator's process since its start (s).
    """

    requests: int
    ok: int
    by_status: Mapping[str, int]
    inputs_answered: int
    tokens_billed: int
    distinct_texts: int
    duplicate_texts: int
    duplicate_answers: int
    duplicate_examples: tuple[str, ...]
    requests_by_key: Mapping[str, int]
    max_requests_per_minute: int
    in_flight: int
    max_in_flight: int
    first_request_at: float | None
    last_request_at: float | None
    rerankings: int
    traceparent: str
    cpu_s: float

    def as_json(self) -> dict[str, Any]:
        """For the wire."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Stats:
        """The reverse of ``as_json``."""
        values = {field.name: given[field.name] for field in fields(cls)}
        return cls(**{**values, "duplicate_examples": tuple(values["duplicate_examples"])})


class Ledger:
    """Counts as requests come and answers go."""

    def __init__(self) -> None:
        self._statuses: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()
        self._texts: Counter[bytes] = Counter()
        self._arrivals: deque[float] = deque()
        self._examples: list[str] = []
        self._duplicate_texts = 0
        self._requests = 0
        self._tokens = 0
        self._max_per_minute = 0
        self._in_flight = 0
        self._max_in_flight = 0
        self._first: float | None = None
        self._last: float | None = None
        self._traceparent = ""
        self._rerankings = 0

    def reranked(self, traceparent: str) -> None:
        """A request for scores came."""
        self._traceparent = traceparent
        self._rerankings += 1

    def arrived(self, now: float, traceparent: str) -> None:
        """A request came."""
        self._traceparent = traceparent
        self._requests += 1
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        self._first = self._first or now
        self._last = now
        self._arrivals.append(now)
        while self._arrivals[0] <= now - WINDOW_S:
            self._arrivals.popleft()
        self._max_per_minute = max(self._max_per_minute, len(self._arrivals))

    def left(self) -> None:
        """A request is over, however it ended."""
        self._in_flight -= 1

    def key_used(self, key: str) -> None:
        """The request that came had this valid key."""
        self._keys[key] += 1

    def ended(self, status: str) -> None:
        """What the request ended with."""
        self._statuses[status] += 1

    def billed(self, model: str, dimensions: int, texts: Sequence[str], tokens: int) -> None:
        """An answer with vectors for these texts is on its way."""
        self._tokens += tokens
        space = hashlib.sha256(f"{model}\0{dimensions}\0".encode())
        for text in texts:
            digest = space.copy()
            digest.update(text.encode())
            name = digest.digest()[:16]  # half of it tells a million texts apart as well
            self._texts[name] += 1
            if self._texts[name] == 2:
                self._duplicate_texts += 1
                if len(self._examples) < MAX_EXAMPLES:
                    self._examples.append(text[:200])

    def stats(self, cpu_s: float) -> Stats:
        """The figures so far."""
        inputs = self._texts.total()
        return Stats(
            requests=self._requests,
            ok=self._statuses["200"],
            by_status=dict(sorted(self._statuses.items())),
            inputs_answered=inputs,
            tokens_billed=self._tokens,
            distinct_texts=len(self._texts),
            duplicate_texts=self._duplicate_texts,
            duplicate_answers=inputs - len(self._texts),
            duplicate_examples=tuple(self._examples),
            requests_by_key=dict(sorted(self._keys.items())),
            max_requests_per_minute=self._max_per_minute,
            in_flight=self._in_flight,
            max_in_flight=self._max_in_flight,
            first_request_at=self._first,
            last_request_at=self._last,
            rerankings=self._rerankings,
            traceparent=self._traceparent,
            cpu_s=cpu_s,
        )
