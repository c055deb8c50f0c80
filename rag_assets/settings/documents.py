"""The settings of the document lane: a part of :class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator

MB = 2**20


class DocumentSettings(BaseModel):
    """What is dropped where, how it is read, and who goes first. 1 MB is :data:`MB` bytes."""

    # Documents: the inbox
    rag_documents_url: str = Field(
        "inbox",
        repr=False,  # it may hold a password
        description="The inbox: a folder, or a URL that fsspec knows, such as "
        "`s3://bucket/inbox` (which needs the package `s3fs`).",
    )
    rag_documents_settle_s: float = Field(
        5,
        ge=0,
        description="Seconds for which a file must have been left alone before it is taken in: one "
        "that is being written is half a document.",
    )
    rag_documents_per_tick: int = Field(
        500, ge=1, description="New and changed documents that one look at the inbox takes in."
    )
    rag_documents_max_mb: int = Field(
        200,
        ge=1,
        description="Largest document, in MB. A larger one is refused when it is uploaded, "
        "and goes to the dead letters when it is dropped.",
    )
    rag_documents_keep_days: int = Field(
        30,
        ge=0,
        description="Days for which a withdrawn document's text and vectors are kept, so that its "
        "return costs nothing.",
    )
    rag_large_document_mb: float = Field(
        10,
        gt=0,
        description="Size, in MB, from which a document goes by the lane of large ones, "
        "`rag_large_docs`.",
    )
    rag_high_priority_below_mb: float = Field(
        5, ge=0, description="A document smaller than this, in MB, has high priority."
    )
    rag_low_priority_from_mb: float = Field(
        20, ge=0, description="A document of this size, in MB, and larger has low priority."
    )

    # Documents: reading and cutting up
    rag_max_chunk_size: int = Field(
        1024,
        ge=16,
        le=8000,
        description="Most tokens of a chunk, at least 16 (the provider allows 8,192). After a "
        "change documents are cut up again when they are next processed.",
    )
    rag_chunk_context: bool = Field(
        True,
        description="Embed each chunk with its document's title and the headings above it in "
        "front. What is stored, shown and found by full text search is the chunk alone. After a "
        "change, documents are embedded again when they are next processed.",
    )
    rag_chunk_overlap: int = Field(
        64,
        ge=0,
        description="Most tokens that a chunk repeats from the end of the one before it, "
        "within one section; at most half of `RAG_MAX_CHUNK_SIZE`.",
    )
    rag_document_timeout_s: float = Field(
        120, gt=0, description="Seconds that reading and cutting up one document may take."
    )
    rag_document_memory_mb: int = Field(
        300,
        ge=128,
        description="Memory, in MB, of the child process that reads a document. One that needs "
        "more ends only that process.",
    )
    rag_document_max_chunks: int = Field(
        20_000, ge=1, description="Chunks at which a document counts as too large."
    )
    rag_documents_ocr: bool = Field(
        False,
        description="Read PDF pages that hold pictures only by OCR, which needs Tesseract with "
        "the documents' languages.",
    )
    rag_document_ocr_memory_mb: int = Field(
        1200,
        ge=128,
        description="As `RAG_DOCUMENT_MEMORY_MB`, where `RAG_DOCUMENTS_OCR` is true: OCR of "
        "one page takes some 800 MB.",
    )

    # Documents: the queue and the runs that work on it
    rag_max_concurrent_jobs: int = Field(
        50, ge=1, description="Documents worked on at once, over all runs together."
    )
    rag_documents_at_once: int = Field(
        24,
        ge=1,
        description="Documents that one run holds at once: being read, embedded or stored. A "
        "run that dies leaves at most this many to another.",
    )
    rag_document_runs: int = Field(
        2,
        ge=1,
        description="Runs at once in the lane `rag_processing`; `dagster.yaml` bounds it, too.",
    )
    rag_large_document_runs: int = Field(
        1,
        ge=1,
        description="Runs at once in the lane `rag_large_docs`, a document each; "
        "`dagster.yaml` bounds it, too.",
    )
    rag_large_document_nice: int = Field(
        10,
        ge=0,
        le=19,
        description="How far a run of the lane `rag_large_docs` gives way to other work of "
        "its machine, as `nice` takes it; 0 for not at all.",
    )
    rag_documents_per_run: int = Field(
        500,
        ge=1,
        description="Documents after which a run ends and lets the next one start. A large "
        "document has a run to itself.",
    )
    rag_documents_mb_per_run: int = Field(
        200, ge=1, description="Size of the documents, in MB, after which a run ends."
    )
    rag_documents_extractors: int = Field(
        1,
        ge=1,
        le=64,
        description="Child processes of a run that read documents, each with up to "
        "`RAG_DOCUMENT_MEMORY_MB`.",
    )
    rag_documents_large: bool = Field(
        False,
        description="Embed documents in the large space, too, for re-ranking: about six times the "
        "price more.",
    )
    rag_document_lease_s: float = Field(
        60,
        ge=3,
        description="Seconds after which the documents of a run that shows no sign of life are "
        "given to another.",
    )
    rag_document_max_attempts: int = Field(
        5,
        ge=1,
        description="Attempts after which a document goes to the dead letters. What was not its "
        "fault, such as a limited rate, is not counted.",
    )
    rag_document_retry_s: float = Field(
        30,
        ge=0,
        description="Seconds before a document's second attempt; doubled for each one after it, up "
        "to an hour.",
    )

    @model_validator(mode="after")
    def _chunks_overlap_in_part(self) -> Self:
        if self.rag_chunk_overlap * 2 > self.rag_max_chunk_size:
            msg = (
                f"RAG_CHUNK_OVERLAP ({self.rag_chunk_overlap}) must be at most half of "
                f"RAG_MAX_CHUNK_SIZE ({self.rag_max_chunk_size})"
            )
            raise ValueError(msg)
        return self
