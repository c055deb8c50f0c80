"""Pages for people: the search page at ``/``, and the OpenAPI document at ``/docs``.

Neither loads anything from another site, and neither needs a key: the routes that they call do.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from rag_assets.api.problems import ProblemError

router = APIRouter(include_in_schema=False)
_PAGE = Path(__file__).parents[1] / "playground.html"
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"
_SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.get("/")
async def playground() -> HTMLResponse:
    """A page to search by hand."""
    page, headers = _playground()
    return HTMLResponse(page, headers=headers)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """The OpenAPI document, to read and to try."""
    page, headers = _docs()
    return HTMLResponse(page, headers=headers)


@router.get("/docs/{name}")
async def docs_file(name: str) -> FileResponse:
    """Swagger UI's script or style."""
    if name not in _SWAGGER_FILES:
        raise ProblemError(404, "not-found", f"there are {' and '.join(_SWAGGER_FILES)}")
    return FileResponse(_SWAGGER / name, headers=_HEADERS)


@cache
def _playground() -> tuple[str, dict[str, str]]:
    """The page, and headers that restrict it to its own script and style and to this API.

    Trusted types prevent the script from turning text into HTML.
    """
    page = _PAGE.read_text(encoding="utf-8")
    return page, _headers(
        f"script-src {_hash_of('script', page)}",
        f"style-src {_hash_of('style', page)}",
        "img-src data:",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )


@cache
def _docs() -> tuple[str, dict[str, str]]:
    """Swagger UI's page, which styles by attributes; its addresses are relative, for proxies."""
    response = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="rag_assets: API",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},  # which is another site
    )
    page = bytes(response.body).decode()
    return page, _headers(
        f"script-src 'self' {_hash_of('script', page)}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
    )


def _headers(*allowed: str) -> dict[str, str]:
    policy = [
        "default-src 'none'",
        *allowed,
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return {**_HEADERS, "Content-Security-Policy": "; ".join(policy)}


def _hash_of(tag: str, page: str) -> str:
    (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
