"""E-mail into blocks: subject and parties, every text part in order, what is forwarded or attached.

An attachment is read like a file of its own; one that cannot be read costs the message nothing.
"""

from __future__ import annotations

import quopri
import re
import unicodedata
from base64 import decodebytes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from email import policy
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser

from rag_assets.documents.formats.blocks import Block, Reading, heading
from rag_assets.documents.formats.guard import corrupt_if_unexpected
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
_POLICY = policy.default.clone(refold_source="none")
_DECODERS = {"base64": decodebytes, "quoted-printable": quopri.decodestring}
_NO_TEXT = re.compile(
    r"(?:pgp|(?:x-)?pkcs7)-signature|(?:global-)?(?:delivery-status|disposition-notification)"
)
_BEFORE = b"\xef\xbb\xbf \t\r\n\v\f"  # a byte-order mark and blanks before the first header
_POSTMARK = re.compile(
    rb"(?:\AFrom [^\n]*"  # by which it was recognised
    rb"|^From +(?:[^\s@]+@\S+|[^\s@]+ at \S+|-|MAILER-DAEMON) +"
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (?=[^\n]*\d:\d\d)(?=[^\n]*\b\d{4}\b)[^\n]*)"
    rb"\n(?=[A-Za-z][\w-]*:)",
    re.MULTILINE,
)
_QUOTED_POSTMARK = re.compile(rb"^>(>*From )", re.MULTILINE)
_MORE_WORDS = 20
_PICTURE = re.compile(r"[\[<](?:cid|image):[^\]>]*[\]>]", re.IGNORECASE)
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # blank, though letters or signs
_USUAL_PREAMBLE = re.compile(r"This is an? .*(?:multi-?part|MIME)", re.IGNORECASE)

ReadFile = Callable[[bytes, str, int], Reading]
"""Reads an attachment by content, name and depth of nesting; raises DocumentError."""


def read_mail(content: bytes, remarks: Remarks, read_file: ReadFile, depth: int) -> Reading:
    """One message with all that it holds.

    :param depth: messages and parts around it.
    """
    message = _parsed(content.lstrip(_BEFORE))
    reader = _Reader(remarks, read_file)
    return Reading(list(reader.message(message, 1, depth)), _header(message, "Subject"))


def read_mailbox(
    content: bytes, title: str, remarks: Remarks, read_file: ReadFile, depth: int
) -> Reading:
    """The messages of an mbox file, one after another, each below its subject.

    One that cannot be read is reported, and the others are read.
    """
    content = content.lstrip(_BEFORE)
    starts = [(found.start(), found.end()) for found in _POSTMARK.finditer(content)]
    ends = [start for start, _ in starts[1:]] + [len(content)]
    reader = _Reader(remarks, read_file)
    blocks: list[Block] = []
    for number, ((_, begin), end) in enumerate(zip(starts, ends, strict=True), start=1):
        raw = _QUOTED_POSTMARK.sub(rb"\1", content[begin:end])
        named = f"Message {number}"
        try:
            with corrupt_if_unexpected(named):
                message = _parsed(raw)
                if not _header(message, "Subject"):
                    blocks.append(heading(named, 1))
                blocks += reader.message(message, 1, depth)
        except DocumentError as error:
            remarks.lost("message that cannot be read", f"{named}: {error.reason}")
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
            yield from self._attachment(part, level + 1, depth + 1)

    def _text(
        self, part: EmailMessage, attached: list[EmailMessage], level: int, depth: int
    ) -> Iterator[Block]:
        """The text of a part and of the parts in it; what is attached is put aside."""
        kind, subtype = part.get_content_maintype(), part.get_content_subtype()
        parts = _parts(part)
        self._report_outside(part)
        if depth >= _DEEPEST:
            self.remarks.lost(f"part of a message nested more than {_DEEPEST} deep")
        elif _NO_TEXT.fullmatch(subtype):
            self.remarks.left_out("signature or delivery status", subtype)
        elif kind == "message" and parts:
            for forwarded in self._decoded(part, parts):
                yield from self.message(forwarded, level + 1, depth + 1)
        elif subtype == "alternative" and parts:
            yield from self._one_of(parts, attached, level, depth)
        elif kind == "multipart" and parts:
            for one in parts:
                yield from self._text(one, attached, level, depth + 1)
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
        """The plainest of several forms that is not blank; what the others attach is kept.

        A form that is not read and has more than twice as many words is reported.
        """
        parts = sorted(parts, key=lambda part: part.get_content_type() != "text/plain")
        forms = [list(self._text(one, attached, level, depth + 1)) for one in parts]
        found = next((blocks for blocks in forms if _is_visible(blocks)), [])
        read = _words(found)
        for one, blocks in zip(parts, forms, strict=True):
            if (words := _words(blocks)) > 2 * read + _MORE_WORDS:
                said = f"{one.get_content_type()}: {words:,} words, read: {read:,}"
                self.remarks.left_out("longer form of a message's text", said)
        yield from found

    def _report_outside(self, part: EmailMessage) -> None:
        """Report the text before and after the parts, which no mail program shows."""
        for outside in (part.preamble, part.epilogue):
            text = clean(outside or "").strip()
            if text and not _USUAL_PREAMBLE.match(text):
                self.remarks.left_out("text before or after the parts of a message", text)

    def _decoded(self, part: EmailMessage, parts: Sequence[EmailMessage]) -> Sequence[EmailMessage]:
        """Forwarded messages; decoded where the part was encoded as a whole."""
        decoder = _DECODERS.get(str(part.get("Content-Transfer-Encoding", "")).strip().lower())
        if decoder is None:
            return parts
        try:
            return [_parsed(decoder(one.as_bytes())) for one in parts]
        except ValueError as error:
            self.remarks.lost("forwarded message with damaged encoding", str(error))
            return []

    def _body(self, part: EmailMessage) -> Sequence[Block]:
        try:
            with corrupt_if_unexpected(part.get_content_type()):
                text = decode(self._payload(part), part.get_content_charset(), self.remarks)
                is_html = part.get_content_subtype() == "html"
                return (read_html(text, self.remarks) if is_html else read_plain(text)).blocks
        except DocumentError as error:
            self.remarks.lost("part of a message that cannot be read", str(error))
            return []

    def _payload(self, part: EmailMessage) -> bytes:
        payload = part.get_payload(decode=True)
        if part.defects:
            named = ", ".join(type(defect).__name__ for defect in part.defects)
            self.remarks.repaired("part of a message with damaged encoding", named)
        return payload if isinstance(payload, bytes) else b""

    def _attachment(self, part: EmailMessage, level: int, depth: int) -> Iterator[Block]:
        name = _name(part)
        called = name or f"x.{part.get_content_subtype()}"
        try:
            with corrupt_if_unexpected(called):
                reading = self.read_file(self._payload(part), called, depth)
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


def _parsed(content: bytes) -> EmailMessage:
    return BytesParser(policy=_POLICY).parsebytes(content)


def _parts(part: EmailMessage) -> list[EmailMessage]:
    if not part.is_multipart():
        return []
    return [one for one in part.get_payload() if isinstance(one, EmailMessage)]


def _is_visible(blocks: Sequence[Block]) -> bool:
    """Whether there is more than blanks, marks without width, and names of pictures."""
    return any(
        unicodedata.category(character)[0] in "LNPS" and character not in _FILLERS
        for block in blocks
        for character in _PICTURE.sub("", block.text)
    )


def _words(blocks: Sequence[Block]) -> int:
    return sum(len(block.text.split()) for block in blocks)


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
