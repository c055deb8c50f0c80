"""What a person or a log could see of an exception, to search it for what must not be there."""

from __future__ import annotations

import base64
import traceback
from urllib.parse import quote


def everything_shown(error: BaseException) -> str:
    """Its sentence, its repr and its traceback with all causes that are printed."""
    return "\n".join((str(error), repr(error), *traceback.format_exception(error)))


def shows_part_of(text: str, secret: str, *, length: int = 6) -> bool:
    """Whether so many characters of a secret in a row are in a text, in any case or encoding."""
    low = text.lower()
    forms = [
        (secret, length),
        (secret[::-1], length),
        (quote(secret, safe=""), length),
        ("".join(f"%{byte:02x}" for byte in secret.encode()), 3 * length),
        (secret.encode().hex(), 2 * length),
        *((base64.b64encode(b"x" * n + secret.encode()).decode()[4:-4], 8) for n in range(3)),
    ]
    return any(
        form[start : start + size].lower() in low
        for form, size in forms
        for start in range(len(form) - size + 1)
        if form[start : start + size].lower() not in "sk-test-"
    )
