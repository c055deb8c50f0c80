"""Keep secrets out of what is shown: the words of other systems, our messages, tracebacks.

Everything that is shown passes one of these. :func:`word` accepts a short identifier that another
system sent, such as an error's code; :func:`masked` replaces the parts of known secrets, and what a
URL may hold beside its place, in any text. The settings register their secrets when they are read:
an error must not show a secret to a caller who does not have the settings.
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
"""What our own messages write where an address needs a password."""
_SHORTEST = 6  # characters of a secret, or of a part of one, that are looked for in a text
_SHORTEST_IN_WORD = 5
_SHORTEST_KEY = 16  # characters; what is shorter is a word such as ``not-needed``
_WORD = re.compile(r"\w{2,}")
_PUBLIC_PREFIX = re.compile(r"(?:sk-(?:(?:proj|svcacct|admin|or-v\d|ant-api\d+)-)?)?")
_SHOWN_END = 4  # characters of a key that providers show to name it
_PLAIN_WORD = re.compile(r"[a-z]{1,11}|[A-Z]{1,11}")
_LONGEST_USER_NAME = 20  # characters; what is longer is a token in its place

# Parts of the registered secrets, in lower case, by their length.
_parts: dict[int, set[str]] = {}
_parts_of_words: set[str] = set()
_whole: set[str] = set()
_places: dict[str, str] = {}  # of registered addresses


def register_keys(keys: Iterable[str]) -> None:
    """Mask these API keys from now on: whole, in part, and as they are usually encoded.

    A key is long and random: six characters in a row that a text shares with it are a part of it,
    unless they are of a prefix that all keys of a provider have. A short one, such as a server
    without keys is given, is masked as passwords are: ``needed`` is a part of ``not-needed``.
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
    """Mask these passwords from now on, whole.

    One that is a short plain word, such as ``postgres``, is masked in addresses only: sentences
    hold such words for other reasons.
    """
    for password in passwords:
        if len(password) >= _SHORTEST and not _PLAIN_WORD.fullmatch(password):
            _whole.update((password, quote(password, safe=""), quote(password)))


def register_address(address: str, *, parameters: bool = False) -> None:
    """Mask the passwords in this address, and show only its place if it is a URL, from now on.

    A password that is not encoded may hold a blank or a quote, at which a URL in a text seems to
    end.

    :param parameters: as for :func:`secrets_in`.
    """
    register_passwords(secrets_in(address, parameters=parameters))
    if "://" in address and (place := place_of(address)) != address:
        _places[address] = place


def secrets_in(address: str, *, parameters: bool = False) -> tuple[str, ...]:
    """The passwords in an address: a URL, or libpq's ``name=value`` pairs.

    :param parameters: the values of a URL's query and its fragment are secret, too.
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
    """A URL without what may be secret: its scheme, host, port and path; chained ones, too.

    A password may hold an ``@`` or a ``/`` that nobody encoded, so all before the last ``@`` goes.
    """
    return "::".join(_place_of_one(one) for one in _LINK.split(url))


def masked(text: str) -> str:
    """The text with ``***`` for each part of a registered secret, and with URLs' places only."""
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
    """What was said about an address: masked, with ``***`` for each word of its secrets, too.

    A URL that is taken apart at a sign of its password is quoted in pieces: "port 'hunter'".
    """
    words = {
        one for secret in secrets_in(address, parameters=True) for one in _WORD.findall(secret)
    }
    return _WORD.sub(lambda found: MASK if found[0] in words else found[0], masked(text))


def word(value: object) -> str | None:
    """An identifier that another system sent, or ``None`` where it must not be repeated.

    It is short, of letters, digits and few signs, and holds no part of a key.
    """
    text = str(value) if isinstance(value, str | int) else ""
    if not _SAFE_WORD.fullmatch(text) or "://" in text or masked(text) != text:
        return None
    pieces = _pieces(text, _SHORTEST_IN_WORD) | _pieces(text, _SHOWN_END)
    return None if pieces & _parts_of_words else text


def without_secrets(error: BaseException) -> BaseException:
    """The error; where it or one of its causes shows a secret, one with the same trace, masked."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    shown_cause = None if cause is None else without_secrets(cause)
    words = "".join(traceback.format_exception_only(error)).strip()
    if masked(words) == words and shown_cause is cause:
        return error
    stand_in = MaskedError(masked(words)).with_traceback(error.__traceback__)
    stand_in.__cause__ = shown_cause
    return stand_in


class MaskedError(Exception):
    """An error of another class, shown without the secrets in its words."""


class MaskingFormatter(LineFormatter):
    """Log lines and their traces: a record is one line, and no secret is shown."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and its trace."""
        return masked(super().format(record))


def _place_of_one(url: str) -> str:
    scheme, there, rest = url.partition("://")
    credentials, _, place = rest.rpartition("@")
    if not there or _PLACEHOLDER.fullmatch(credentials):
        return url
    return f"{scheme}://{re.split('[?#]', place, maxsplit=1)[0]}"


def _forms(key: str) -> Iterable[tuple[str, int]]:
    """A key as it may be encoded, each with the length of a part that gives it away."""
    raw = key.encode()
    yield key, _SHORTEST
    yield key[::-1], _SHORTEST
    yield quote(key, safe=""), _SHORTEST
    yield "".join(f"%{byte:02x}" for byte in raw), 3 * _SHORTEST
    yield raw.hex(), 2 * _SHORTEST
    for offset in range(3):  # the bytes before it decide how it falls into groups of three
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
    """In lower case, and as long as before: keys are ASCII."""
    return text.translate(_LOWER)
