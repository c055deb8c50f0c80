"""Requests and tokens a minute, over a sliding window, for a key or for the whole organisation.

The clock is passed in. A refused request does not count, so a client that waits for as long as
it is told is always admitted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from openai_emulator import refusals

WINDOW_S = 60.0
# The headers must name a limit even where none is enforced: one that nobody will run into.
UNLIMITED_REQUESTS = 1_000_000
UNLIMITED_TOKENS = 1_000_000_000


@dataclass(frozen=True)
class Limits:
    """A minute's worth; ``None`` is no limit."""

    rpm: int | None = None
    tpm: int | None = None


NO_LIMITS = Limits()


@dataclass
class Window:
    """What was admitted in the last minute."""

    limits: Limits
    admitted: deque[tuple[float, int]] = field(default_factory=deque)
    tokens: int = 0

    def forget_old(self, now: float) -> None:
        """Drop what is more than a minute ago."""
        while self.admitted and self.admitted[0][0] <= now - WINDOW_S:
            self.tokens -= self.admitted.popleft()[1]

    def admit(self, now: float, tokens: int) -> None:
        """Count a request."""
        self.admitted.append((now, tokens))
        self.tokens += tokens

    def check(self, now: float, tokens: int, model: str) -> None:
        """Raise 429 if there is no room."""
        rpm, tpm = self.limits.rpm, self.limits.tpm
        if rpm is not None and len(self.admitted) + 1 > rpm:
            wait = self.admitted[len(self.admitted) - rpm][0] + WINDOW_S - now if rpm else None
            raise _refusal(
                model, "requests", "RPM", limit=rpm, used=len(self.admitted), asked=1, wait_s=wait
            )
        if tpm is not None and self.tokens + tokens > tpm:
            wait = self._wait_for_tokens(now, tokens, tpm)
            raise _refusal(
                model, "tokens", "TPM", limit=tpm, used=self.tokens, asked=tokens, wait_s=wait
            )

    def _wait_for_tokens(self, now: float, tokens: int, tpm: int) -> float | None:
        used = self.tokens
        for at, spent in self.admitted:
            used -= spent
            if used + tokens <= tpm:
                return at + WINDOW_S - now
        return None  # the request alone is over the limit

    def headers(self, now: float) -> dict[str, str]:
        """The six ``x-ratelimit-*`` headers."""
        requests = UNLIMITED_REQUESTS if self.limits.rpm is None else self.limits.rpm
        tokens = UNLIMITED_TOKENS if self.limits.tpm is None else self.limits.tpm
        reset_s = self.admitted[-1][0] + WINDOW_S - now if self.admitted else 0.0
        return {
            "x-ratelimit-limit-requests": str(requests),
            "x-ratelimit-limit-tokens": str(tokens),
            "x-ratelimit-remaining-requests": str(max(0, requests - len(self.admitted))),
            "x-ratelimit-remaining-tokens": str(max(0, tokens - self.tokens)),
            "x-ratelimit-reset-requests": format_duration(reset_s),
            "x-ratelimit-reset-tokens": format_duration(reset_s),
        }


def _refusal(
    model: str, unit: str, short: str, *, limit: int, used: int, asked: int, wait_s: float | None
) -> refusals.Refused:
    figures = f"Limit {limit}, Used {used}, Requested {asked}."
    message = (
        f"Rate limit reached for {model} in organization org-test "
        f"on {unit} per min ({short}): {figures}"
    )
    if wait_s is not None:
        message += f" Please try again in {format_duration(wait_s)}."
    return refusals.rate_limited(message, unit=unit, wait_s=wait_s)


def format_duration(seconds: float) -> str:
    """As OpenAI writes it: ``120ms``, ``1s``, ``8.64s``, ``6m0s``, ``1h0m0s``."""
    ms = max(0, round(seconds * 1000))
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{ms / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


class RateLimiter:
    """The organisation's window, and one for each key.

    :param organisation: holds over all keys together.
    :param per_key: holds for each key that has none of its own.
    """

    def __init__(self, organisation: Limits, per_key: Limits) -> None:
        self._per_key = per_key
        self._organisation = Window(organisation)
        self._keys: dict[str, Window] = {}

    def set_organisation(self, limits: Limits) -> None:
        """Change the limit over all keys; what was counted stays."""
        self._organisation.limits = limits

    def set_key(self, key: str, limits: Limits) -> None:
        """Give a key limits of its own."""
        self._window(key).limits = limits

    def admit(self, key: str, model: str, tokens: int, now: float) -> None:
        """Count the request, or raise 429."""
        windows = (self._window(key), self._organisation)
        for window in windows:
            window.forget_old(now)
            window.check(now, tokens, model)
        for window in windows:
            window.admit(now, tokens)

    def headers(self, key: str, now: float) -> dict[str, str]:
        """Of the window with the least room, for requests or else for tokens."""
        windows = (self._window(key), self._organisation)
        for window in windows:
            window.forget_old(now)
        return min((window.headers(now) for window in windows), key=_room)

    def forget(self) -> None:
        """Begin a new minute: the limits stay."""
        for window in (self._organisation, *self._keys.values()):
            window.admitted.clear()
            window.tokens = 0

    def _window(self, key: str) -> Window:
        return self._keys.setdefault(key, Window(self._per_key))


def _room(headers: dict[str, str]) -> tuple[int, int]:
    return (
        int(headers["x-ratelimit-remaining-requests"]),
        int(headers["x-ratelimit-remaining-tokens"]),
    )
