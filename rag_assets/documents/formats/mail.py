"""E-mail into blocks: subject and parties, every text part in order, what is forwarded or attached.

An attachment is read like a file of its own; one that cannot be read costs the message nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from email import policy
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser

from rag_assets.documents.formats.blocks import Block, Reading, heading
from rag_assets.documents.formats.html import read_html
from rag_assets.documents.formats.lines import read_plain
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean, decode
from rag_assets.errors import (
    DocumentError,
    EmptyDocumentError,
    NoTextError,
    UnsupportedDocumentError,
)

_SHOWN = ("From", "To", "Cc", "Date")
_DEEPEST = 30  # parts within parts
_BODY = frozenset({"plain", "html"})
_NO_TEXT = frozenset({"pgp-signature", "pkcs7-signature", "x-pkcs7-signature", "delivery-status"})
_POSTMARK = re.compile(rb"(?:\A|\n\r?\n)From [^\n]*\n(?=[A-Za-z][\w-]*:)")
_QUOTED_POSTMARK = re.compile(rb"^>(>*From )", re.MULTILINE)

ReadFile = Callable[[bytes, str], Reading]
"""Reads an attachment by content and name; raises DocumentError."""


def read_mail(content: bytes, remarks: Remarks, read_file: ReadFile) -> Reading:
    """One message with all that it holds."""
    message = BytesParser(policy=policy.default).parsebytes(content)
    reader = _Reader(remarks, read_file)
    return Reading(list(reader.message(message, 1, 0)), _header(message, "Subject"))


def read_mailbox(content: bytes, title: str, remarks: Remarks, read_file: ReadFile) -> Reading:
    """The messages of an mbox file, one after another, each below its subject."""
    starts = [(found.start(), found.end()) for found in _POSTMARK.finditer(content)]
    ends = [start for start, _ in starts[1:]] + [len(content)]
    reader = _Reader(remarks, read_file)
    blocks: list[Block] = []
    for number, ((_, begin), end) in enumerate(zip(starts, ends, strict=True), start=1):
        raw = _QUOTED_POSTMARK.sub(rb"\1", content[begin:end])
        message = BytesParser(policy=policy.default).parsebytes(raw)
        if not _header(message, "Subject"):
            blocks.append(heading(f"Message {number}", 1))
        blocks += reader.message(message, 1, 0)
    return Reading(blocks, title)


@dataclass(frozen=True)
class _Reader:
    remarks: Remarks
    read_file: ReadFile

    def message(self, message: EmailMessage, level: int, depth: int) -> Iterator[Block]:
        """Its headers, its text in order, then its attachments."""
        if subject := _header(message, "Subject"):
            yield heading(subject, level)
        lines = [f"{name}: {value}" for name in _SHOWN if (value := _header(message, name))]
        attached: list[EmailMessage] = []
        text = list(self._text(message, attached, level, depth))
        if names := [name for part in attached if (name := _name(part))]:
            lines.append("Attached: " + ", ".join(names))
        if lines:
            yield Block("\n".join(lines), prose=False)
        yield from text
        for part in attached:
            yield from self._attachment(part, level + 1)

    def _text(
        self, part: EmailMessage, attached: list[EmailMessage], level: int, depth: int
    ) -> Iterator[Block]:
        """The text of a part and of the parts in it; what is attached is put aside."""
        kind, subtype = part.get_content_maintype(), part.get_content_subtype()
        parts = _parts(part)
        if depth == _DEEPEST:
            self.remarks.lost(f"part of a message nested more than {_DEEPEST} deep")
        elif kind == "message" and subtype == "rfc822" and parts:
            for forwarded in parts:
                yield from self.message(forwarded, level + 1, depth + 1)
        elif subtype == "alternative" and parts:
            yield from self._one_of(parts, attached, level, depth)
        elif kind == "multipart" and parts:
            for one in parts:
                yield from self._text(one, attached, level, depth + 1)
        elif subtype in _NO_TEXT:
            self.remarks.left_out("signature or delivery status", subtype)
        elif _is_text(part):
            yield from self._body(part)
        else:
            attached.append(part)

    def _one_of(
        self,
        parts: Sequence[EmailMessage],
        attached: list[EmailMessage],
        level: int,
        depth: int,
    ) -> Iterator[Block]:
        """The plainest of several forms that is not blank; what the others attach is kept."""
        found: list[Block] = []
        for one in sorted(parts, key=lambda part: part.get_content_type() != "text/plain"):
            blocks = list(self._text(one, attached, level, depth + 1))
            found = found or blocks
        yield from found

    def _body(self, part: EmailMessage) -> Sequence[Block]:
        text = decode(self._payload(part), part.get_content_charset(), self.remarks)
        if part.get_content_subtype() == "html":
            return read_html(text, self.remarks).blocks
        return read_plain(text).blocks

    def _payload(self, part: EmailMessage) -> bytes:
        payload = part.get_payload(decode=True)
        if part.defects:
            named = ", ".join(type(defect).__name__ for defect in part.defects)
            self.remarks.repaired("part of a message with damaged encoding", named)
        return payload if isinstance(payload, bytes) else b""

    def _attachment(self, part: EmailMessage, level: int) -> Iterator[Block]:
        name = _name(part)
        try:
            reading = self.read_file(self._payload(part), name or f"x.{part.get_content_subtype()}")
        except DocumentError as error:
            self._explain(error, part, name or part.get_content_type())
            return
        if not reading.blocks:
            self.remarks.left_out("attachment without text", name)
            return
        yield heading(name or reading.title or "Attachment", level)
        for block in reading.blocks:  # its pages are not the message's
            yield replace(block, level=block.level + level if block.level else 0, page=None)

    def _explain(self, error: DocumentError, part: EmailMessage, name: str) -> None:
        if isinstance(error, UnsupportedDocumentError | EmptyDocumentError) or (
            isinstance(error, NoTextError) and part.get_content_maintype() == "image"
        ):
            self.remarks.left_out("attachment that holds no readable text", name)
        else:
            self.remarks.lost("attachment that cannot be read", f"{name}: {error.reason}")


def _is_text(part: EmailMessage) -> bool:
    """Whether it belongs to the message's own text."""
    return (
        part.get_content_maintype() in ("text", "multipart")  # one without parts is broken text
        and (part.get_content_subtype() in _BODY or not part.get_filename())
        and part.get_content_disposition() != "attachment"
    )


def _parts(part: EmailMessage) -> list[EmailMessage]:
    if not part.is_multipart():
        return []
    return [one for one in part.get_payload() if isinstance(one, EmailMessage)]


def _name(part: EmailMessage) -> str:
    try:
        return clean(part.get_filename() or "").strip()
    except (MessageError, LookupError, ValueError):
        return ""


def _header(message: EmailMessage, name: str) -> str:
    """A header's text; where the strict parser fails on it, as much as can be decoded."""
    try:
        return clean(str(message.get(name, ""))).strip()
    except (MessageError, LookupError, ValueError, AttributeError, TypeError):
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        try:
            return clean(str(make_header(decode_header(str(raw))))).strip()
        except (MessageError, LookupError, ValueError):
            return clean(str(raw)).strip()
