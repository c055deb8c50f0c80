"""The OpenAPI document, exact about errors: each one is a problem, in the media type of one."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from rag_assets.api.problems import MEDIA_TYPE


def describe(app: FastAPI) -> None:
    """Let the app show its document so."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400" and "content" in response:
                    response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
    return document
