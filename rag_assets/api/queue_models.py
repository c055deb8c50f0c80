"""The API's requests and responses about the queue, which its OpenAPI document describes."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rag_assets.api.document_models import DocumentModel
from rag_assets.api.models import DocumentKey
from rag_assets.documents.sql.ordering import LARGEST_FILE, SizeRule
from rag_assets.lanes import HIGH, LOW, NORMAL, DocumentLane, Lane
from rag_assets.settings.documents import MB

MAX_RULES = 100
_PRIORITIES = {"high": HIGH, "normal": NORMAL, "low": LOW}

Megabytes = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
MAX_LISTED = 1000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReorderQueue(_Body):
    """Which waiting documents come first in their lanes."""

    strategy: Literal["oldest_first"] = Field(description="Those that have waited longest.")
    limit: int = Field(100, ge=1, le=1_000_000, description="How many, at most.")
    lane: DocumentLane | None = Field(None, description="Only those of this lane.")


class SeparateLargeJobs(_Body):
    """Which waiting documents move to the lane of large ones."""

    size_threshold_mb: Megabytes = Field(description="Files of this size or more.")
    target_queue: Literal["rag_large_docs"] = Field("rag_large_docs", description="The lane.")


class SizeRange(_Body):
    """Sizes in MB; all conditions that are given must hold."""

    gt: Megabytes | None = Field(None, alias="$gt", description="Above.")
    gte: Megabytes | None = Field(None, alias="$gte", description="At least.")
    lt: Megabytes | None = Field(None, alias="$lt", description="Below.")
    lte: Megabytes | None = Field(None, alias="$lte", description="At most.")

    @model_validator(mode="after")
    def _has_a_condition(self) -> SizeRange:
        if not self.model_fields_set:
            raise ValueError("must have at least one of $lt, $lte, $gt and $gte")
        return self

    @property
    def at_least(self) -> int:
        """The smallest size, in bytes."""
        return max(
            0 if self.gte is None else math.ceil(self.gte * MB),
            0 if self.gt is None else math.floor(self.gt * MB) + 1,
        )

    @property
    def below(self) -> int:
        """The smallest size, in bytes, that is too large."""
        return min(
            LARGEST_FILE if self.lt is None else math.ceil(self.lt * MB),
            LARGEST_FILE if self.lte is None else math.floor(self.lte * MB) + 1,
        )


class PriorityRule(_Body):
    """The priority of files of some sizes."""

    file_size_mb: SizeRange
    priority: Literal["high", "normal", "low"]

    def plain(self) -> SizeRule:
        """Convert to bytes and to the number of the priority."""
        sizes = self.file_size_mb
        return SizeRule(_PRIORITIES[self.priority], sizes.at_least, sizes.below)


class PrioritizeQueue(_Body):
    """Rules for waiting documents; the first one that fits a document counts."""

    rules: list[PriorityRule] = Field(min_length=1, max_length=MAX_RULES)


class PauseQueue(_Body):
    """A lane from which no further runs are started."""

    lane: Lane
    reason: str = Field("over HTTP", min_length=1, max_length=1000, description="For the doctor.")


class ResumeQueue(_Body):
    """A lane from which runs are started again."""

    lane: Lane


class RetryDeadLetters(_Body):
    """Which dead letters are put back; exactly one of these."""

    keys: list[DocumentKey] | None = Field(None, min_length=1, max_length=MAX_LISTED)
    error_class: str | None = Field(None, min_length=1, description="All whose error is of it.")
    all: Literal[True] | None = Field(None, description="All of them.")

    @model_validator(mode="after")
    def _one_choice(self) -> RetryDeadLetters:
        if sum(one is not None for one in (self.keys, self.error_class, self.all)) != 1:
            raise ValueError("must have exactly one of keys, error_class and all")
        return self


class QueueChanged(BaseModel):
    """What was done."""

    request_id: str
    documents: int = Field(description="How many documents changed.")


class LaneChanged(BaseModel):
    """The state of a lane."""

    request_id: str
    lane: Lane
    paused: bool
    changed: bool = Field(description="Whether it was in another state before.")


class DeadLetters(BaseModel):
    """Documents that could not be processed, in the order they were dropped into the inbox."""

    request_id: str
    classes: dict[str, int] = Field(description="How many there are by class of error.")
    documents: list[DocumentModel]
    next: int | None = Field(description="Give this as `after` for the next page.")
