"""Find the minimum number of probes, or candidates, that answers text queries. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil

_FEW = 300
"""With fewer text queries and none lost, one in a hundred others may still be lost."""
_MARGIN_FOR_FEW = 1.25
"""Times the probes, or candidates, that few text queries need. Without this, a healthy index over
502 verses, tuned and checked with 100 fragments, lost two of the check's, of which one may be lost:
once in ten."""
_TOO_MANY = 0.005
"""Share of the text queries that even the largest number may lose."""


@dataclass(frozen=True)
class Allowed:
    """The text queries that a choice of probes may lose.

    :param share: of all of them: by default a seventh of what the check, with other queries, allows
        of fragments.
    :param golden: golden queries: the check runs the same ones.
    """

    share: float = 0.0015
    golden: int = 0


FEW = Allowed()


@dataclass(frozen=True)
class Enough:
    """A number of probes, or of candidates.

    :param kept: whether it loses no more text queries than a check would pass.
    """

    number: int
    kept: bool


def enough_probes(
    finds: Callable[[int, int], bool],
    places: Sequence[int],
    golden: Collection[int],
    *,
    start: int,
    maximum: int,
    allowed: Allowed = FEW,
) -> Enough:
    """The minimum probes, or candidates, from ``start`` to ``maximum`` that lose as few text
    queries as allowed. Pure apart from ``finds``.

    More probes find everything that fewer find, so only lost queries are run again: this takes
    hardly more searches than there are queries.

    :param finds: whether the query with this index is answered with this number.
    :param places: indexes of the queries that exact search answers, including ``golden``.
    """

    def still_lost(lost: Sequence[int], probes: int) -> list[int]:
        return [place for place in lost if not finds(place, probes)]

    def acceptable(lost: Sequence[int], share: float) -> bool:
        of_golden = sum(place in golden for place in lost)
        return len(lost) - of_golden <= share * len(places) and of_golden <= allowed.golden

    low = high = start
    lost_low = lost = still_lost(places, start)
    while not acceptable(lost, allowed.share) and high < maximum:
        low, lost_low, high = high, lost, min(2 * high, maximum)
        lost = still_lost(lost, high)
    kept = acceptable(lost, max(allowed.share, _TOO_MANY))
    while high - low > max(1, high // 10):
        middle = (low + high) // 2
        lost = still_lost(lost_low, middle)
        if acceptable(lost, allowed.share):
            high = middle
        else:
            low, lost_low = middle, lost
    return Enough(high, kept)


def for_few(number: int, answered: int, maximum: int) -> int:
    """A number of probes or candidates that is enough for some text queries, and for others, too.

    :param answered: how many text queries it was chosen by.
    """
    return min(maximum, ceil(_MARGIN_FOR_FEW * number)) if 0 < answered < _FEW else number
