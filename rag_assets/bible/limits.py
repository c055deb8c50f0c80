"""The settings that bound the reading of one Bible version."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.settings.model import Settings


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """What reading one version may take.

    :param seconds: wall time of reading it.
    :param memory_bytes: of the child process that reads it (resident), its interpreter included.
    :param most_bytes: the total size of its files.
    """

    seconds: float
    memory_bytes: int
    most_bytes: int


def reading_limits(settings: Settings) -> ReadingLimits:
    """The limits that the settings ask for."""
    return ReadingLimits(
        seconds=settings.rag_bible_timeout_s,
        memory_bytes=settings.rag_bible_memory_mb << 20,
        most_bytes=settings.rag_bible_max_mb << 20,
    )
