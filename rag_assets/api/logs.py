"""The API's log lines, in text or JSON, each with the request's id."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from rag_assets.api.request_id import request_id
from rag_assets.secrecy import MaskingFormatter, masked
from rag_assets.settings.model import Settings
from rag_assets.visible import visible, visible_json

_FIELDS = "rag_fields"


def fields(**values: object) -> dict[str, object]:
    """The ``extra`` argument of a log call."""
    return {_FIELDS: values}


def set_up(settings: Settings) -> None:
    """Log to standard error in the configured format; from libraries, only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.rag_log_format == "json" else _Text())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("rag_assets", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.setLevel(settings.rag_log_level)
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(),
            "level": record.levelname,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return masked(visible_json(json.dumps(line, default=str, ensure_ascii=False)))


class _Text(MaskingFormatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        time = datetime.fromtimestamp(record.created, tz=UTC).strftime("%H:%M:%S.%f")[:-3]
        values = getattr(record, _FIELDS, {})
        tail = "".join(f" {name}={value}" for name, value in values.items())
        head = f"{time} {record.levelname:<7} [{request_id.get()}]"
        return visible(f"{head} {record.message}{tail}")
