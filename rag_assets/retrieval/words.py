"""The words of a query: which of them choose the candidates, and what each weighs. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

OPERATORS_UP_TO = 32
"""A longer query is a text, not a search: its quotes and dashes mean nothing."""

MAX_TERMS = 64
"""The rarest words of a query rank its candidates; of a text of a thousand words, the others add
little."""

MAX_CHOOSING = 32
"""Words, the rarest, whose passages are candidates."""

BUDGET = 5_000
"""Passages to rank, about: each takes some 2 µs, and *God* is in one verse of eight."""

_OPERATORS = re.compile(r'(?<!\w)(?P<minus>(?<!\S)-)?"(?P<phrase>[^"]*)"|(?<!\S)-(?P<word>\w\S*)')


@dataclass(frozen=True)
class Asked:
    """A query as typed, taken apart.

    :param text: all that is looked for, without operators.
    :param phrases: what a passage must contain, word for word; also part of ``text``.
    :param excluded: words and phrases that it must not contain.
    """

    text: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def constrained(self) -> bool:
        return bool(self.phrases or self.excluded)


def take_apart(query: str) -> Asked:
    """Find phrases in double quotes, and words and phrases after a minus."""
    query = query.replace("\0", " ")  # PostgreSQL has no such character
    if len(query.split(maxsplit=OPERATORS_UP_TO)) > OPERATORS_UP_TO:
        return Asked(query)
    phrases: list[str] = []
    excluded: list[str] = []

    def replaced(found: re.Match[str]) -> str:
        if found["word"] or found["minus"]:
            excluded.append(found["word"] or found["phrase"])
            return " "
        phrases.append(found["phrase"])
        return f" {found['phrase']} "

    text = _OPERATORS.sub(replaced, query)
    return Asked(text, tuple(filter(str.strip, phrases)), tuple(filter(str.strip, excluded)))


@dataclass(frozen=True)
class Term:
    """A folded word of a query in one language.

    :param rows: passages of the language that contain it, of ``of_rows``.
    """

    language: str
    lexeme: str
    rows: int
    of_rows: int

    @property
    def weight(self) -> float:
        """Its inverse document frequency."""
        rows = min(self.rows, self.of_rows)
        return math.log(1 + (self.of_rows - rows + 0.5) / (rows + 0.5))


@dataclass(frozen=True)
class Wanted:
    """What to search in one language.

    :param candidates: a ``tsquery`` for the passages to rank.
    :param weights: by word; ``total`` is their sum.
    """

    language: str
    candidates: str
    weights: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        return math.fsum(weight for _, weight in self.weights)


def wanted(terms: Iterable[Term], *, budget: int = BUDGET) -> tuple[Wanted, ...]:
    """Choose candidates by the rarest words over all languages, as long as the budget lasts.

    If even the rarest word of a language is in too many passages, those with several of its words
    are candidates.
    """
    by_rarity = sorted(terms, key=lambda term: (term.language, term.rows, term.lexeme))
    scored = [
        list(members)[:MAX_TERMS]
        for _, members in groupby(by_rarity, key=lambda term: term.language)
    ]
    chosen: dict[str, list[Term]] = {members[0].language: [] for members in scored}
    for term in sorted(
        (term for members in scored for term in members[:MAX_CHOOSING]), key=lambda term: term.rows
    ):
        budget -= max(1, term.rows)
        if budget < 0:
            break
        chosen[term.language].append(term)
    return tuple(
        Wanted(
            members[0].language,
            _any(chosen[members[0].language]) or _several(members),
            tuple((term.lexeme, term.weight) for term in members),
        )
        for members in scored
    )


def _any(terms: Sequence[Term]) -> str:
    return " | ".join(quoted(term.lexeme) for term in terms)


def _several(terms: Sequence[Term]) -> str:
    """So many of the rarest words that about ``BUDGET`` passages contain them, as if by chance."""
    expected = float(terms[0].of_rows)
    needed = []
    for term in terms:
        needed.append(quoted(term.lexeme))
        expected *= term.rows / max(1, term.of_rows)
        if expected <= BUDGET:
            break
    return " & ".join(needed)


def quoted(lexeme: str) -> str:
    """A lexeme as it is written in a ``tsquery``."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
