"""Convert exceptions to Dagster failures that name the fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import dagster as dg

from rag_assets import tracing
from rag_assets.errors import GateRefusedError, RagAssetsError, TransientError, reason_of
from rag_assets.secrecy import without_secrets


@contextmanager
def as_failures() -> Iterator[None]:
    """Turn any exception into a ``dg.Failure`` with its reason and class, chained to its traceback.

    Also a decorator for functions that do not yield. In a run the block is a span. Permanent errors
    forbid retries. Unexpected errors show their class and message; Dagster's own description would
    only name the op.
    """
    try:
        with _step_span():
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
            metadata |= {
                "fixes": dg.MetadataValue.md("\n".join(f"1. {fix}" for fix in error.fixes)),
                "reasons": dg.MetadataValue.md("\n".join(f"- {one}" for one in error.reasons)),
                "reason_count": len(error.reasons),
            }
        raise dg.Failure(
            description=reason_of(error),
            metadata=metadata,
            allow_retries=isinstance(error, TransientError) or not ours,
        ) from without_secrets(error)


def _step_span() -> AbstractContextManager[object]:
    """The span of the current step, if there is one: sensors have none."""
    try:
        context = dg.OpExecutionContext.get()
        run_id, name = context.run_id, context.op.name
    except dg.DagsterError:
        return nullcontext()
    about = {
        "dagster.job": context.job_name,
        "dagster.run_id": run_id,
        "dagster.partition": context.partition_key if context.has_partition_key else None,
    }
    return tracing.run_span(name, run_id, about)
