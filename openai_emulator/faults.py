"""What can be ordered to go wrong, and which request it befalls.

Only the choice belongs here; what a fault does to an answer stands in ``app`` and ``answers``.
The clock is passed in.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"  # ``latency_ms`` more, on top of any other fault
    RATE_LIMIT = "rate_limit"  # 429, wait ``retry_after_s``
    INSUFFICIENT_QUOTA = "insufficient_quota"  # 429 until reset, for ``key`` or all
    SERVER_ERROR = "server_error"  # 500
    UNAVAILABLE = "unavailable"  # 503
    OUTAGE = "outage"  # 503 to all for ``seconds``
    HANG = "hang"  # no answer until the client gives up; not billed
    CUT = "cut"  # the connection closes in the middle of a billed answer
    SHUFFLE = "shuffle"  # data in another order, with the right index
    WRONG_DIMENSION = "wrong_dimension"  # vectors one number short
    NAN = "nan"  # the first number of the first vector is not a number
    MISSING_ITEMS = "missing_items"  # the last vector is missing
    WRONG_MODEL = "wrong_model"  # the answer names ``model``
    ECHO = "echo"  # ``status`` with the request's key in all words, in ``form``; 200: as the model
    POISON = "poison"  # 400 for each request with a text that contains ``text``
    BATCH_SLOW = "batch_slow"  # a batch takes ``seconds``
    BATCH_EXPIRED = "batch_expired"  # a batch ends with half of its results
    BATCH_INVALID = "batch_invalid"  # a batch fails its validation
    BATCH_SHUFFLE = "batch_shuffle"  # a batch's results stand in another order
    BATCH_LINE_ERROR = "batch_line_error"  # a line with a text that contains ``text`` is refused
    BATCH_DUPLICATE = "batch_duplicate"  # the first result stands there twice
    BATCH_CUT = "batch_cut"  # the download of a file breaks off in the middle


FORMS: Mapping[str, Callable[[str], str]] = {
    "whole": str,
    "upper": str.upper,
    "head": lambda key: key[:20],
    "tail": lambda key: key[-8:],
    "percent": lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
    "base64": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
}
"""How a key is echoed."""

OF_BATCHES = frozenset(kind for kind in FaultKind if kind.startswith("batch_"))
STANDING = frozenset(
    {
        FaultKind.LATENCY,
        FaultKind.INSUFFICIENT_QUOTA,
        FaultKind.OUTAGE,
        FaultKind.ECHO,
        FaultKind.POISON,
    }
)


@dataclass(frozen=True)
class Fault:
    """One order.

    :param times: how many requests it befalls; ``None`` is 1, and without end for latency,
        insufficient_quota, outage, echo and poison.
    :param key: befall only requests with this API key.
    :param after: let this many requests (with that key) pass first.
    """

    kind: FaultKind
    times: int | None = None
    key: str | None = None
    after: int = 0
    latency_ms: float = 0
    retry_after_s: float = 1
    seconds: float = 0
    text: str = ""
    model: str = "text-embedding-ada-002"
    status: int = 401
    form: str = "whole"

    def __post_init__(self) -> None:
        if self.kind is FaultKind.POISON and not self.text:
            raise ValueError("poison needs a text: an empty one would befall every request")
        if self.kind is FaultKind.OUTAGE and self.seconds <= 0:
            raise ValueError("an outage needs a time in seconds")
        if self.kind is FaultKind.LATENCY and self.latency_ms <= 0:
            raise ValueError("latency needs a time in ms")

        if self.form not in FORMS:
            raise ValueError(f"a key is echoed in one of the forms {sorted(FORMS)}")
        if self.times is not None and self.times < 1:
            raise ValueError("a fault befalls at least one request")

    def as_json(self) -> dict[str, Any]:
        """For the wire."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Fault:
        """:raises ValueError: an unknown kind or field, or a missing one."""
        unknown = given.keys() - {field.name for field in fields(cls)}
        if unknown or "kind" not in given:
            raise ValueError(f"a fault has a kind, and no {sorted(unknown)}")
        return cls(**{**given, "kind": FaultKind(given["kind"])})


class Order:
    """A fault that was ordered, and how far it has gone."""

    def __init__(self, fault: Fault, now: float) -> None:
        self.fault = fault
        self._seen = 0
        self._left = fault.times or (None if fault.kind in STANDING else 1)
        self._until = now + fault.seconds if fault.after == 0 else None

    def takes(self, key: str, texts: Sequence[str], now: float) -> bool:
        """Whether this request is one of its own. Each request is to be shown once."""
        fault = self.fault
        if fault.kind in OF_BATCHES or fault.key not in (None, key):
            return False
        self._seen += 1
        return self._seen > fault.after and self._left != 0 and self._holds(texts, now)

    def takes_batch(self, kind: FaultKind | None) -> bool:
        """Whether a batch, or the download of one with ``kind``, is one of its own."""
        mine = self.fault.kind in OF_BATCHES and self.fault.kind is not FaultKind.BATCH_CUT
        return self._left != 0 and (self.fault.kind is kind if kind else mine)

    def take(self) -> None:
        """Count one request as befallen."""
        if self._left is not None:
            self._left -= 1

    def is_outage(self, now: float) -> bool:
        """Whether this is an outage that has begun and is not over."""
        return self._until is not None and self.fault.kind is FaultKind.OUTAGE and now < self._until

    def _holds(self, texts: Sequence[str], now: float) -> bool:
        if self.fault.kind is FaultKind.POISON:
            return any(self.fault.text in text for text in texts)
        if self.fault.kind is FaultKind.OUTAGE:
            if self._until is None:
                self._until = now + self.fault.seconds
            return now < self._until
        return True


class FaultBook:
    """The orders, consumed in the order given: the first that fits befalls the request."""

    def __init__(self) -> None:
        self._orders: list[Order] = []

    def order(self, fault: Fault, now: float) -> None:
        """Add an order at the end."""
        self._orders.append(Order(fault, now))

    def clear(self) -> None:
        """Forget all orders."""
        self._orders.clear()

    def away(self, now: float) -> bool:
        """Whether an outage has begun and is not over. Uses up no fault."""
        return any(order.is_outage(now) for order in self._orders)

    def choose_batch(self, kind: FaultKind | None = None) -> Fault | None:
        """The fault that befalls this batch, or the download of its results."""
        order = next((order for order in self._orders if order.takes_batch(kind)), None)
        if order is None:
            return None
        order.take()
        return order.fault

    def choose(self, key: str, texts: Sequence[str], now: float) -> tuple[Fault | None, float]:
        """The fault that befalls this request, if any, and the latency to add (ms)."""
        chosen: Fault | None = None
        latency_ms = 0.0
        for order in self._orders:
            if not order.takes(key, texts, now):
                continue
            if order.fault.kind is FaultKind.LATENCY:
                latency_ms += order.fault.latency_ms
                order.take()
            elif chosen is None:
                chosen = order.fault
                order.take()
        return chosen, latency_ms
