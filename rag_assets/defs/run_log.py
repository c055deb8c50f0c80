"""Log lines of a run on standard error, in addition to Dagster's events.

Dagster stores them in the run's compute log. Writing each as an event would take 15 ms.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rag_assets.secrecy import MaskingFormatter


@contextmanager
def run_log() -> Iterator[None]:
    """Write this package's log lines to standard error, with timestamps, within the block."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger = logging.getLogger("rag_assets")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
