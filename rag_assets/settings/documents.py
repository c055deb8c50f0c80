"""The settings of the document lane: a part of :class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator

MB = 2**20


class DocumentSettings(BaseModel):
    """The inbox, reading and chunking, the queue and its runs. 1 MB is :data:`MB` bytes."""

    # Documents: the inbox
    rag_documents_url: str = Field(
        "inbox",
        repr=False,  # it may hold a password
        description="The inbox: a folder, or a URL that fsspec supports, such as "
        "`s3://bucket/inbox` (which needs the package `s3fs`).",
    )
    rag_documents_settle_s: float = Field(
        5,
        ge=0,
        description="Seconds without a change after which a file is taken in, so that a file "
        "that is still being written is not.",
    )
    rag_documents_per_tick: int = Field(
        500, ge=1, description="New and changed documents that one scan of the inbox takes in."
    )
    rag_documents_max_mb: int = Field(
        200,
        ge=1,
        description="Maximum size of a document, in MB. A larger one is refused when it is "
        "uploaded, and becomes a dead letter when it is dropped.",
    )
    rag_documents_keep_days: int = Field(
        30,
        ge=0,
        description="Days for which the text and vectors of a withdrawn document are kept, so "
        "that restoring it costs nothing.",
    )
    rag_large_document_mb: float = Field(
        10,
        gt=0,
        description="Size, in MB, from which a document goes to the lane of large ones, "
        "`rag_large_docs`.",
    )
    rag_high_priority_below_mb: float = Field(
        5, ge=0, description="A document smaller than this, in MB, has high priority."
    )
    rag_low_priority_from_mb: float = Field(
        20, ge=0, description="A document of at least this size, in MB, has low priority."
    )

    # Documents: reading and chunking
    rag_max_chunk_size: int = Field(
        1024,
        ge=16,
        le=8000,
        description="Maximum tokens of a chunk, at least 16 (the provider allows 8,192). After a "
        "change, documents are chunked again when they are next processed.",
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
        description="Maximum tokens that a chunk repeats from the end of the previous one, "
        "within one section; at most half of `RAG_MAX_CHUNK_SIZE`.",
    )
    rag_document_timeout_s: float = Field(
        120, gt=0, description="Seconds that reading and chunking one document may take."
    )
    rag_document_memory_mb: int = Field(
        300,
        ge=128,
        description="Memory, in MB, of the child process that reads a document. If a document "
        "needs more, only that process is ended.",
    )
    rag_document_max_chunks: int = Field(
        20_000, ge=1, description="Number of chunks from which a document counts as too large."
    )
    rag_documents_ocr: bool = Field(
        False,
        description="Read PDF pages that contain only images by OCR, which needs Tesseract with "
        "the documents' languages.",
    )
    rag_document_ocr_memory_mb: int = Field(
        1200,
        ge=128,
        description="Replaces `RAG_DOCUMENT_MEMORY_MB` if `RAG_DOCUMENTS_OCR` is true: OCR of "
        "one page takes some 800 MB.",
    )

    # Documents: the queue and its runs
    rag_max_concurrent_jobs: int = Field(
        50, ge=1, description="Maximum number of documents processed concurrently, over all runs."
    )
    rag_documents_at_once: int = Field(
        24,
        ge=1,
        description="Documents that one run processes concurrently: read, embedded or stored. A "
        "run that dies leaves at most this many to another.",
    )
    rag_document_runs: int = Field(
        2,
        ge=1,
        description="Concurrent runs in the lane `rag_processing`; `dagster.yaml` limits them, "
        "too.",
    )
    rag_large_document_runs: int = Field(
        1,
        ge=1,
        description="Concurrent runs in the lane `rag_large_docs`, one document each; "
        "`dagster.yaml` limits them, too.",
    )
    rag_large_document_nice: int = Field(
        10,
        ge=0,
        le=19,
        description="Niceness of a run of the lane `rag_large_docs`, as for `nice`; 0 for none.",
    )
    rag_documents_per_run: int = Field(
        500,
        ge=1,
        description="Documents after which a run ends and lets the next one start. A large "
        "document has its own run.",
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
        description="Embed documents in the large space, too, for re-ranking: at about six times "
        "the price in addition.",
    )
    rag_document_lease_s: float = Field(
        60,
        ge=3,
        description="Seconds without a heartbeat of a run after which its documents are given to "
        "another.",
    )
    rag_document_max_attempts: int = Field(
        5,
        ge=1,
        description="Attempts after which a document becomes a dead letter. Failures that the "
        "document did not cause, such as a limited rate, are not counted.",
    )
    rag_document_retry_s: float = Field(
        30,
        ge=0,
        description="Seconds before the second attempt at a document; doubled for each further "
        "one, up to an hour.",
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
