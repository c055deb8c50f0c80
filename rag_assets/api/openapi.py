"""The OpenAPI document, in which every error response is a problem with its own media type.

It is serialized once, because that takes milliseconds and anyone may request it.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from fastapi import FastAPI, Response

from rag_assets.api.problems import MEDIA_TYPE


def describe(app: FastAPI) -> None:
    """Serve the app's document at ``/openapi.json``."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    @cache
    def serialized() -> bytes:
        return json.dumps(openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi_json() -> Response:
        return Response(serialized(), media_type="application/json")


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400" and "content" in response:
                    response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
    return document
