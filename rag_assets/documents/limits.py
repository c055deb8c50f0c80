"""The settings that bound the extraction of one document."""

from __future__ import annotations

from rag_assets.documents.model import ExtractionLimits
from rag_assets.settings.model import Settings


def extraction_limits(settings: Settings) -> ExtractionLimits:
    """The limits that the settings ask for."""
    memory_mb = settings.rag_document_memory_mb
    if settings.rag_documents_ocr:
        memory_mb = max(memory_mb, settings.rag_document_ocr_memory_mb)
    return ExtractionLimits(
        seconds=settings.rag_document_timeout_s,
        memory_bytes=memory_mb * 1024 * 1024,
        chunk_tokens=settings.rag_max_chunk_size,
        overlap_tokens=settings.rag_chunk_overlap,
        max_chunks=settings.rag_document_max_chunks,
        ocr=settings.rag_documents_ocr,
    )
