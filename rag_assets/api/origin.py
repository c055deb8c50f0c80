"""Find out where a request comes from, by the headers that browsers send. Pure.

Starlette's ``TrustedHostMiddleware`` accepts names, not the whole loopback network, responds in
plain text, and does not consider paths, keys and sites.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag_assets.api.problems import ProblemError
from rag_assets.settings.loopback import is_loopback

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/]+))(?::[0-9]{0,5})?")
_KEY = "or create an API key: `rag-assets keys create NAME`"


def foreign(headers: Sequence[tuple[bytes, bytes]]) -> ProblemError | None:
    """Why a request without a key is refused, or ``None``.

    Programs other than browsers send neither ``Origin`` nor ``Sec-Fetch-Site``, and are accepted.

    :param headers: with names in lower case, as in ASGI.
    """
    hosts: list[str] = []
    origin = site = mode = None
    for name, value in headers:
        if name == b"host":
            hosts.append(value.decode("latin-1").lower())
        elif name == b"origin":
            origin = value.decode("latin-1").lower()
        elif name == b"sec-fetch-site":
            site = value
        elif name == b"sec-fetch-mode":
            mode = value
    if len(hosts) != 1 or not _is_ours(hosts[0]):
        return ProblemError(
            401,
            "unauthorised",
            f"without an API key the API answers to 127.0.0.1 and localhost only: use one of these "
            f"names, {_KEY}",
            headers={"WWW-Authenticate": "Bearer"},
        )
    # A link from another local page, such as Dagster's, is accepted.
    linked = site == b"same-site" and mode == b"navigate"
    if site not in (None, b"same-origin", b"none") and not linked:
        return _cross_site()
    if origin is not None and origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
        return _cross_site()
    return None


def _is_ours(authority: str) -> bool:
    """Whether a ``Host`` header names the loopback interface, with any port."""
    found = _AUTHORITY.fullmatch(authority)
    return found is not None and is_loopback(found[1] or found[2])


def _cross_site() -> ProblemError:
    return ProblemError(
        403,
        "cross-site",
        f"a page of another site sent this request, which needs an API key: open the API's own "
        f"address, {_KEY}",
    )
