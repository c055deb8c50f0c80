"""How this package's errors end a run in Dagster: as a failure that says what to do, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from rag_assets.errors import GateRefusedError, RagAssetsError, TransientError


@contextmanager
def as_failures() -> Iterator[None]:
    """Turn an error raised on purpose into ``dg.Failure`` with its sentence and class.

    A permanent one forbids retries; anything that is not ours passes through with its trace.
    """
    try:
        yield
    except RagAssetsError as error:
        metadata: dict[str, dg.MetadataValue | str | int | bool] = {
            "error_class": type(error).__name__,
            "may_pass_later": isinstance(error, TransientError),
        }
        if isinstance(error, GateRefusedError):
            lines = "\n".join(f"- {reason}" for reason in error.reasons)
            metadata |= {"reasons": dg.MetadataValue.md(lines), "reason_count": len(error.reasons)}
        raise dg.Failure(
            description=str(error),
            metadata=metadata,
            allow_retries=isinstance(error, TransientError),
        ) from error
