"""Keep secrets out of everything that is shown: other systems' output, our messages, tracebacks.

Everything shown goes through one of these functions. :func:`word` accepts a short identifier from
another system, such as an error code. :func:`masked` replaces parts of known secrets in any text,
and reduces URLs to their place. The settings register their secrets when they are read, because
code that shows an error may not have the settings.
"""

from __future__ import annotations

import base64
import logging
import re
import traceback
from collections.abc import Iterable
from urllib.parse import quote, unquote

from rag_assets.visible import LineFormatter

MASK = "***"
_SAFE_WORD = re.compile(r"[A-Za-z0-9._:/@+-]{1,80}", re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_LINK = re.compile(r"::(?=(?:[A-Za-z][A-Za-z0-9+.-]*::){0,9}[A-Za-z][A-Za-z0-9+.-]*://)")
"""What separates chained URLs; any other ``::`` may be part of a password or a token."""
_PASSWORD_IN_CONNINFO = re.compile(r"\bpassword=('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"(user)?:password")
"""What our own messages show for a password in an address."""
_SHORTEST = 6  # characters of a secret, or of a part of one, to search for in a text
_SHORTEST_IN_WORD = 5
_SHORTEST_KEY = 16  # characters; anything shorter is a word such as ``not-needed``
_WORD = re.compile(r"\w{2,}")
_PUBLIC_PREFIX = re.compile(r"(?:sk-(?:(?:proj|svcacct|admin|or-v\d|ant-api\d+)-)?)?")
_SHOWN_END = 4  # last characters of a key, which providers show to identify it
_PLAIN_WORD = re.compile(r"[a-z]{1,11}|[A-Z]{1,11}")
_LONGEST_USER_NAME = 20  # characters; anything longer is a token in place of a user name

# Parts of the registered secrets, in lower case, by length.
_parts: dict[int, set[str]] = {}
_parts_of_words: set[str] = set()
_whole: set[str] = set()
_places: dict[str, str] = {}  # of registered addresses


def register_keys(keys: Iterable[str]) -> None:
    """Mask these API keys from now on: whole, in part, and in the usual encodings.

    A key is long and random, so six consecutive characters that a text shares with it are a part of
    it, unless they belong to a provider's public prefix. A short key, such as a placeholder for a
    server without keys, is masked like a password: ``needed`` is a part of ``not-needed``.
    """
    for key in keys:
        if len(key) < _SHORTEST_KEY:
            register_passwords([key])
            continue
        found = _PUBLIC_PREFIX.match(key)
        public = found[0] if found else ""
        _parts_of_words.update(
            _pieces(key, _SHORTEST_IN_WORD) - _pieces(public, _SHORTEST_IN_WORD),
            _pieces(key[-_SHOWN_END:], _SHOWN_END),
        )
        for form, shortest in _forms(key):
            parts = _pieces(form, shortest) - _pieces(public, shortest)
            _parts.setdefault(shortest, set()).update(parts)


def register_passwords(passwords: Iterable[str]) -> None:
    """Mask these passwords from now on, as a whole.

    A short plain word, such as ``postgres``, is masked only in addresses, because sentences contain
    such words for other reasons.
    """
    for password in passwords:
        if len(password) >= _SHORTEST and not _PLAIN_WORD.fullmatch(password):
            _whole.update((password, quote(password, safe=""), quote(password)))


def register_address(address: str, *, parameters: bool = False) -> None:
    """Mask the passwords in this address from now on; of a URL, show only its place.

    An unencoded password may contain a blank or a quote, at which a URL in a text seems to end.

    :param parameters: as for :func:`secrets_in`.
    """
    register_passwords(secrets_in(address, parameters=parameters))
    if "://" in address and (place := place_of(address)) != address:
        _places[address] = place


def secrets_in(address: str, *, parameters: bool = False) -> tuple[str, ...]:
    """The passwords in an address: a URL, or libpq's ``name=value`` pairs.

    :param parameters: the values in a URL's query and fragment are secret too.
    """
    if "://" not in address:
        return tuple(one.strip("'") for one in _PASSWORD_IN_CONNINFO.findall(address))
    found: list[str] = []
    for url in _LINK.split(address):
        rest = url.partition("://")[2]
        user, _, password = rest.rpartition("@")[0].partition(":")
        found += [password, user if len(user) > _LONGEST_USER_NAME else ""]
        query, _, fragment = rest.partition("?")[2].partition("#")
        values = [one.partition("=") for one in query.split("&")]
        found += [value for name, _, value in values if parameters or name == "password"]
        found += [fragment or rest.partition("#")[2]] if parameters else []
    return tuple(dict.fromkeys(one for raw in found for one in (raw, unquote(raw)) if one))


def place_of(url: str) -> str:
    """The scheme, host, port and path of a URL, or of chained ones, without possible secrets.

    A password may contain an unencoded ``@`` or ``/``, so everything before the last ``@`` is
    removed.
    """
    return "::".join(_place_of_one(one) for one in _LINK.split(url))


def masked(text: str) -> str:
    """The text with ``***`` for each part of a registered secret, and only the places of URLs."""
    for address, place in _places.items():
        text = text.replace(address, place)
    for secret in sorted(_whole, key=len, reverse=True):
        text = text.replace(secret, MASK)
    if "://" in text:
        text = _URL.sub(lambda found: place_of(found.group()), text)
    text = _PASSWORD_IN_CONNINFO.sub(f"password={MASK}", text)
    low = _lower(text)
    hidden = bytearray(len(text))
    for length, parts in _parts.items():
        for start in range(len(low) - length + 1):
            if low[start : start + length] in parts:
                hidden[start : start + length] = b"\1" * length
    if not any(hidden):
        return text
    shown = "".join("\0" if hide else one for one, hide in zip(text, hidden, strict=True))
    return re.sub("\0+", MASK, shown)


def masked_of(address: str, text: str) -> str:
    """A message about an address: masked, and with ``***`` for each word of the address's secrets.

    A URL that was split at a character of its password is quoted in pieces: "port 'hunter'".
    """
    words = {
        one for secret in secrets_in(address, parameters=True) for one in _WORD.findall(secret)
    }
    return _WORD.sub(lambda found: MASK if found[0] in words else found[0], masked(text))


def word(value: object) -> str | None:
    """An identifier from another system, or ``None`` if it must not be shown.

    It must be short, consist of letters, digits and a few symbols, and contain no part of a key.
    """
    text = str(value) if isinstance(value, str | int) else ""
    if not _SAFE_WORD.fullmatch(text) or "://" in text or masked(text) != text:
        return None
    pieces = _pieces(text, _SHORTEST_IN_WORD) | _pieces(text, _SHOWN_END)
    return None if pieces & _parts_of_words else text


def without_secrets(error: BaseException) -> BaseException:
    """The error, or a masked one with the same traceback if it or a cause shows a secret."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    shown_cause = None if cause is None else without_secrets(cause)
    words = "".join(traceback.format_exception_only(error)).strip()
    if masked(words) == words and shown_cause is cause:
        return error
    replacement = MaskedError(masked(words)).with_traceback(error.__traceback__)
    replacement.__cause__ = shown_cause
    return replacement


class MaskedError(Exception):
    """An error of another class, without the secrets in its message."""


class MaskingFormatter(LineFormatter):
    """Formats log records and tracebacks: a record is one line, and no secret is shown."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with its traceback."""
        return masked(super().format(record))


def _place_of_one(url: str) -> str:
    scheme, there, rest = url.partition("://")
    credentials, _, place = rest.rpartition("@")
    if not there or _PLACEHOLDER.fullmatch(credentials):
        return url
    return f"{scheme}://{re.split('[?#]', place, maxsplit=1)[0]}"


def _forms(key: str) -> Iterable[tuple[str, int]]:
    """The encodings of a key, each with the minimum length of a part that reveals it."""
    raw = key.encode()
    yield key, _SHORTEST
    yield key[::-1], _SHORTEST
    yield quote(key, safe=""), _SHORTEST
    yield "".join(f"%{byte:02x}" for byte in raw), 3 * _SHORTEST
    yield raw.hex(), 2 * _SHORTEST
    for offset in range(3):  # the preceding bytes decide how it is split into groups of three
        text = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        inner = text[(0, 2, 3)[offset] : -1]
        yield inner, 8
        yield inner.replace("+", "-").replace("/", "_"), 8


def _pieces(text: str, length: int) -> set[str]:
    """All parts of this length, in lower case."""
    low = _lower(text)
    return {low[start : start + length] for start in range(len(low) - length + 1)}


_LOWER = {ord(letter): ord(letter.lower()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _lower(text: str) -> str:
    """Lower-case ASCII letters only, which keeps the length: keys are ASCII."""
    return text.translate(_LOWER)
