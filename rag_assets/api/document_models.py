"""The API's responses about documents, which its OpenAPI document describes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from rag_assets.documents.report import report_of
from rag_assets.documents.sql.documents import Document
from rag_assets.lanes import PRIORITY_NAMES

State = Literal["waiting", "running", "ready", "dead", "withdrawn"]


class RemarkModel(BaseModel):
    """Something in the file that is not in the text as it stands there."""

    what: str = Field(description="In words, such as `hidden sheet`.")
    count: int
    examples: list[str] = Field(description="The names or beginnings of the first few.")


class ReportModel(BaseModel):
    """What became of a document's text when it was read."""

    pages: int | None = Field(description="Or slides; null where the format has none.")
    passages: int
    characters: int
    replaced_characters: int = Field(description="That could not be read: U+FFFD in the text.")
    left_out: list[RemarkModel] = Field(description="On purpose.")
    repaired: list[RemarkModel] = Field(description="Or guessed.")
    lost: list[RemarkModel] = Field(description="What should be in the text and is not.")


class DocumentModel(BaseModel):
    """A document and its state."""

    key: str
    corpus: str = Field(description="The document corpus.")
    path: str = Field(description="Below the corpus' inbox.")
    state: State = Field(description="Of the work on it: `dead` is done without success.")
    lane: str
    priority: str = Field(description="asked for, high, normal or low.")
    bytes: int
    attempts: int = Field(description="Since its content was new.")
    dropped_at: datetime
    queued_at: datetime
    not_before: datetime | None = Field(description="When the next attempt is due.")
    started_at: datetime | None
    ended_at: datetime | None
    run_id: str | None = Field(description="The run that works on it, or did last.")
    error_class: str | None
    error: str | None = Field(description="Error of the last attempt, with what to do.")
    withdrawn_at: datetime | None
    title: str | None
    media_type: str | None
    language: str | None
    pages: int | None
    chunks: int | None
    tokens: int | None
    cost_usd: float | None = Field(
        description="What its embeddings cost when it was last ready; null if a price is not known."
    )
    seconds: dict[str, float] | None = Field(description="Time by stage.")
    report: ReportModel | None = Field(
        description="On the text that is stored; null where an older version has read it."
    )

    @classmethod
    def of(cls, document: Document) -> DocumentModel:
        """The model of a stored document."""
        shown = {name: getattr(document, name) for name in cls.model_fields if name != "report"}
        report = report_of(document)
        shown["report"] = None if report is None else asdict(report)
        return cls(**(shown | {"priority": PRIORITY_NAMES[document.priority]}))


class DocumentAnswer(BaseModel):
    """One document."""

    request_id: str
    document: DocumentModel


class DocumentList(BaseModel):
    """Documents in the order they were dropped into the inbox."""

    request_id: str
    documents: list[DocumentModel]
    next: int | None = Field(description="Give this as `after` for the next page.")


class UploadAnswer(BaseModel):
    """A document that was stored in the inbox and waits to be processed."""

    request_id: str
    key: str = Field(description="Ask for its state with this.")
    path: str
    bytes: int
    sha256: str
    how: Literal["added", "replaced", "unchanged"] = Field(
        description="`unchanged`: the very same file was there already."
    )
