"""ZIP archives that are documents: not larger than they may be, and every text part whole."""

from __future__ import annotations

import io
import mimetypes
import re
import zipfile

from defusedxml.ElementTree import fromstring

from rag_assets.documents.formats.recognise import DAMAGED
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.errors import CorruptDocumentError, DocumentTooLargeError

_TEXT_PARTS = (".xml", ".xhtml", ".html", ".htm", ".opf", ".rels", ".svg")
_MEDIA_TYPES = ("image/", "audio/", "video/", "font/")
_MEDIA_FOLDERS = re.compile(r"/(?:media|embeddings|fonts)/", re.IGNORECASE)


def refuse_damaged(content: bytes, name: str, most: int) -> None:
    """Of a ZIP archive: whether it is too large, and whether every part with text is whole.

    Pictures and other media are not read and do not count. The library leaves a slide or chapter
    out that it cannot unpack. An archive that is larger than it says meets the limit of memory.
    """
    if not content.startswith(b"PK\x03\x04"):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [one for one in archive.infolist() if not _is_media(one.filename.lower())]
        size = sum(member.file_size for member in members)
        if size > most:
            raise DocumentTooLargeError(
                name,
                f"without pictures it expands to {size / 1e6:,.0f} MB, more than half of "
                f"RAG_DOCUMENT_MEMORY_MB ({2 * most / 1e6:,.0f} MB): split the document, or raise "
                "the setting",
            )
        for member in members:
            _refuse_damaged_part(archive, member, name)


def report_comments(
    archive: zipfile.ZipFile, path: re.Pattern[str], element: str, remarks: Remarks
) -> None:
    """Report the comments in the parts of these names: they are no text of the document."""
    for name in archive.namelist():
        if not path.fullmatch(name):
            continue
        for comment in fromstring(archive.read(name)).iter():
            if comment.tag.rsplit("}", 1)[-1] == element:
                remarks.left_out("comment", "".join(comment.itertext()))


def _is_media(path: str) -> bool:
    if path.endswith(_TEXT_PARTS):
        return False
    kind = mimetypes.guess_type(path)[0] or ""
    return kind.startswith(_MEDIA_TYPES) or _MEDIA_FOLDERS.search(path) is not None


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
