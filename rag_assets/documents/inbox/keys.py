"""A document's key: its path made safe for Dagster's partition keys, URLs and command lines."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable

_LONGEST = 120  # characters; a key is shown in lists, and Dagster's storage indexes it
_FOLDER = "__"
_KEPT = frozenset("._-")


def document_key(path: str, taken: Callable[[str], bool]) -> str:
    """A key for a new document that no other has or had.

    Letters of other scripts stay; accents go, blanks and signs become hyphens, and a slash becomes
    two underscores: ``ajuda/Instalação (Linux).md`` has the key ``ajuda__Instalacao-Linux.md``.

    :param path: below the inbox, with slashes.
    :param taken: tells whether a key belongs, or belonged, to another document.
    """
    key = _FOLDER.join(_safe(part) for part in path.split("/") if part.strip("."))
    key = key or "document"
    if len(key) > _LONGEST:
        digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        key = f"{key[: _LONGEST - 20]}-{digest}{_suffix(path)}"
    numbered, number = key, 1
    while taken(numbered):
        number += 1
        numbered = f"{key}-{number}"
    return numbered


def _safe(part: str) -> str:
    kept = "".join(_safe_character(character) for character in unicodedata.normalize("NFC", part))
    kept = re.sub(r"-*([.-])[.-]*", r"\1", kept)
    return kept.strip("-.") or "-"


def _safe_character(character: str) -> str:
    plain = "".join(
        part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)
    )
    if plain and plain.isascii() and all(part.isalnum() or part in _KEPT for part in plain):
        return plain
    # A mark belongs to the letter before it; without its marks a word of Hindi is another word.
    return character if character.isalnum() or unicodedata.category(character)[0] == "M" else "-"


def _suffix(path: str) -> str:
    """The file's extension, where it is a short plain one."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}\Z", path)
    return found.group() if found else ""
