"""What a run writes to standard error, beside Dagster's events: lines that are looked for by name.

Dagster keeps it with the run's compute log. An event of its own for each would take it 15 ms.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rag_assets.visible import LineFormatter


@contextmanager
def run_log() -> Iterator[None]:
    """While it lasts, this package's log lines go to standard error, each with its time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)-7s %(message)s"))
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
