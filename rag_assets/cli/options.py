"""Bounds of numbers on the command line: those of the settings that they replace."""

from __future__ import annotations

from typing import TypedDict

from rag_assets.settings.model import bounds


class Range(TypedDict, total=False):
    """The smallest and the largest number that an option takes, as Typer names them."""

    min: float
    max: float


LARGEST = 2**31 - 1
"""Of PostgreSQL's integers, which number releases and bound lists."""
COUNT = Range(min=1, max=LARGEST)
DAYS = Range(min=1, max=36_500)
SECONDS = Range(min=1, max=86_400)


def within(setting: str) -> Range:
    """The bounds of the setting that an option replaces."""
    found, given = bounds(setting), Range()
    if found.ge is not None:
        given["min"] = found.ge
    if found.le is not None:
        given["max"] = found.le
    return given
