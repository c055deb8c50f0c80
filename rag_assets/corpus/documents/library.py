"""The extraction library, xberg, called for one document, without an event loop."""

from __future__ import annotations

import asyncio

from xberg import ExtractedDocument, ExtractInput, ExtractionConfig, extract


def extracted(content: bytes, media_type: str, config: ExtractionConfig) -> ExtractedDocument:
    """What the library reads in ``content``; 0.5 ms at least. Not for a running event loop.

    :raises RuntimeError: it cannot be read; the library has this one class for most reasons.
    """
    source = ExtractInput(kind="bytes", bytes=content, mime_type=media_type)
    return asyncio.run(_one(source, config))


async def _one(source: ExtractInput, config: ExtractionConfig) -> ExtractedDocument:
    result = await extract(source, config)
    if result.errors:
        raise RuntimeError(result.errors[0].message)
    return result.results[0]
