"""What identifies a text: its hash. Everything that compares texts compares this."""

from __future__ import annotations

import hashlib


def text_hash(text: str) -> bytes:
    """SHA-256 of the UTF-8 text, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()
