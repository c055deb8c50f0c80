"""A peer's memory, in MB of 10⁶ bytes, without anything to import for it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def rss_mb() -> float:
    """Resident memory now."""
    return _status("VmRSS") or peak_rss_mb()


def peak_rss_mb() -> float:
    """The most resident memory so far.

    Linux hands ``ru_maxrss`` on through exec, so there it would be at least the benchmark's own.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return _status("VmHWM") or round(used, 1)


def _status(field: str) -> float | None:
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    words = next(line for line in path.read_text().splitlines() if line.startswith(field)).split()
    return round(int(words[1]) * 1024 / 1e6, 1)
