"""What a person or a log could see of an exception, to search it for what must not be there."""

from __future__ import annotations

import traceback


def everything_shown(error: BaseException) -> str:
    """Its sentence, its repr and its traceback with all causes that are printed."""
    return "\n".join((str(error), repr(error), *traceback.format_exception(error)))
