"""ZIP archives that are documents: not larger than they may be, and every text part whole."""

from __future__ import annotations

import io
import zipfile

from rag_assets.documents.formats.recognise import DAMAGED
from rag_assets.errors import CorruptDocumentError, DocumentTooLargeError

_TEXT_PARTS = (".xml", ".xhtml", ".html", ".htm", ".opf", ".rels")


def refuse_damaged(content: bytes, name: str, most: int) -> None:
    """Of a ZIP archive: whether it is too large, and whether every part with text is whole.

    The library leaves a slide or chapter out that it cannot unpack. An archive that is larger than
    it says meets the limit of memory.
    """
    if not content.startswith(b"PK\x03\x04"):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > most:
            raise DocumentTooLargeError(
                name,
                f"it expands to {size / 1e6:,.0f} MB, more than RAG_DOCUMENT_MEMORY_MB allows "
                f"({most / 1e6:,.0f} MB): split the document, or raise the setting",
            )
        for member in archive.infolist():
            if member.filename.lower().endswith(_TEXT_PARTS):
                _refuse_damaged_part(archive, member, name)


def _refuse_damaged_part(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> None:
    try:
        with archive.open(member) as part:
            while part.read(1 << 20):
                pass
    except DAMAGED as error:
        raise CorruptDocumentError(
            name,
            f"its part {member.filename} is cut off or damaged ({error}): fetch the file again",
        ) from error
