"""How a model is given queries and passages: text prefixes, a field of the request, or neither.

Part of what makes an embedding space: vectors made under other instructions are other vectors. The
setting is ``RAG_EMBEDDING_INSTRUCTIONS``; a space keeps them spelled out, so that a preset that
changes here changes no space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["query", "passage"]
"""What a text is embedded as: something to search with, or something to find."""


@dataclass(frozen=True)
class Instructions:
    """What goes with each text, by its kind.

    :param field: a field of the request, which then takes ``query`` or ``passage`` as its value;
        empty: they are prefixes of the texts.
    """

    query: str = ""
    passage: str = ""
    field: str = ""

    def texts(self, texts: Sequence[str], kind: Kind) -> list[str]:
        """The texts as they are sent."""
        prefix = "" if self.field else self._of(kind)
        return [prefix + text for text in texts]

    def fields(self, kind: Kind) -> dict[str, str]:
        """What the body of the request has beside the texts."""
        return {self.field: self._of(kind)} if self.field else {}

    def _of(self, kind: Kind) -> str:
        return self.query if kind == "query" else self.passage

    def stored(self) -> str:
        """Their only spelling in the database; empty for none."""
        given = {name: text for name, text in sorted(asdict(self).items()) if text}
        return json.dumps(given, ensure_ascii=False, sort_keys=True) if given else ""

    def __str__(self) -> str:
        if self.field:
            return f"{self.field}={self.query} or {self.passage}"
        return f"prefixes {self.query!r} and {self.passage!r}"


NONE = Instructions()
E5 = Instructions("query: ", "passage: ")
_TASK = Instructions("task: search result | query: ", "title: none | text: ")
PRESETS = {
    "none": NONE,
    "e5": E5,
    "e5-instruct": Instructions(
        "Instruct: Given a question, retrieve passages that answer it\nQuery: "
    ),
    "nomic": Instructions("search_query: ", "search_document: "),
    "gemini": _TASK,
    "voyage": Instructions("query", "document", "input_type"),
    "cohere": Instructions("search_query", "search_document", "input_type"),
}
"""By the name that the setting takes."""

_FAMILIES = (
    (r"e5-[\w-]*instruct", "e5-instruct"),
    (r"(^|[/-])e5-(small|base|large)", "e5"),
    (r"nomic-embed-text", "nomic"),
    # gemini-embedding-001 takes a task_type, which its OpenAI-compatible address does not accept.
    (r"gemini-embedding-2|(^|/)embeddinggemma", "gemini"),
    (r"(^|/)voyage-", "voyage"),
    # By the names that gateways give them: Cohere's own compatible address takes no input_type.
    (r"(^|/)cohere[/.]embed-", "cohere"),
)
"""Patterns of models' names; the first that is found counts."""


def instructions_for(setting: str, model: str) -> Instructions:
    """What the setting means for a model.

    :param setting: ``auto``, a preset's name, or JSON with the fields of :class:`Instructions`.
    :raises ValueError: it is none of these.
    """
    if setting != "auto":
        return PRESETS[setting] if setting in PRESETS else parse(setting)
    name = model.lower()
    return next(
        (PRESETS[preset] for pattern, preset in _FAMILIES if re.search(pattern, name)), NONE
    )


@lru_cache
def parse(text: str) -> Instructions:
    """Instructions as :meth:`Instructions.stored` spells them, or as the setting does.

    :raises ValueError: there is no such preset, or what is given makes no sense.
    """
    if not text:
        return NONE
    try:
        given = json.loads(text)
        found = Instructions(**given)
    except (TypeError, ValueError):
        raise ValueError(
            f"must be auto, one of {', '.join(PRESETS)}, or JSON such as "
            '{"query": "query: ", "passage": "passage: "} or '
            '{"field": "input_type", "query": "query", "passage": "document"}'
        ) from None
    if not all(isinstance(value, str) for value in given.values()):
        raise ValueError("every value of the JSON must be a text")
    if found.field in ("model", "input", "dimensions", "encoding_format"):
        raise ValueError(f"the field {found.field!r} of a request means something else")
    if found.field and not (found.query and found.passage):
        raise ValueError("with a field, both query and passage must be given")
    return found
