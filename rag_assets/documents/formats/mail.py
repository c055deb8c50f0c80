"""An e-mail into blocks: its subject and parties, and its text. What is attached is named only."""

from __future__ import annotations

from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from rag_assets.documents.formats.blocks import Block, Reading, heading
from rag_assets.documents.formats.html import read_html
from rag_assets.documents.formats.lines import read_plain
from rag_assets.documents.formats.text import clean, decode

_SHOWN = ("From", "To", "Cc", "Date")


def read_mail(content: bytes) -> Reading:
    """The message's text part, or its HTML part where it has no other."""
    message = BytesParser(policy=policy.default).parsebytes(content)
    subject = clean(_header(message, "Subject"))
    lines = [f"{name}: {value}" for name in _SHOWN if (value := clean(_header(message, name)))]
    attached = [clean(name) for part in _attachments(message) if (name := part.get_filename())]
    if attached:
        lines.append("Attached: " + ", ".join(attached))
    blocks = [heading(subject, 1)] if subject else []
    if lines:
        blocks.append(Block("\n".join(lines), prose=False))
    return Reading([*blocks, *_body(message)], subject)


def _body(message: EmailMessage) -> list[Block]:
    part = message.get_body(("plain", "html"))
    payload = part.get_payload(decode=True) if part is not None else None
    if part is None or not isinstance(payload, bytes):
        return []
    text = decode(payload, part.get_content_charset())
    reading = read_html(text) if part.get_content_subtype() == "html" else read_plain(text)
    return list(reading.blocks)


def _attachments(message: EmailMessage) -> list[EmailMessage]:
    return [part for part in message.iter_attachments() if isinstance(part, EmailMessage)]


def _header(message: EmailMessage, name: str) -> str:
    value = message.get(name)
    return "" if value is None else str(value).strip()
