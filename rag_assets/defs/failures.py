"""How an exception ends a step in Dagster: as a failure that says what to do, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from rag_assets.errors import GateRefusedError, RagAssetsError, TransientError, reason_of
from rag_assets.secrecy import without_secrets


@contextmanager
def as_failures() -> Iterator[None]:
    """Turn any exception into ``dg.Failure`` with its reason and class, and its trace behind it.

    Also a decorator, of functions that do not yield. A permanent error forbids retries. One that
    nobody foresaw shows its class and words: Dagster's own sentence for it names the op alone.
    """
    try:
        yield
    except (dg.Failure, dg.RetryRequested, dg.DagsterError):
        raise
    except Exception as error:
        ours = isinstance(error, RagAssetsError)
        metadata: dict[str, dg.MetadataValue | str | int | bool] = {
            "error_class": type(error).__name__,
            "may_pass_later": isinstance(error, TransientError),
        }
        if isinstance(error, GateRefusedError):
            lines = "\n".join(f"- {reason}" for reason in error.reasons)
            metadata |= {"reasons": dg.MetadataValue.md(lines), "reason_count": len(error.reasons)}
        raise dg.Failure(
            description=reason_of(error),
            metadata=metadata,
            allow_retries=isinstance(error, TransientError) or not ours,
        ) from without_secrets(error)
