"""The command line of a search, for messages that name the next command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from rag_assets.retrieval.request import SearchRequest
from rag_assets.visible import visible

Verb = Literal["search", "explain"]


def command_of(request: SearchRequest, verb: Verb = "search", *, expect: Sequence[str] = ()) -> str:
    """The command line of a request, without what the command's defaults say. Pure.

    :param expect: of `explain`.
    """
    query, words = request.text or "QUERY", list[str]()
    for option, value in (
        ("--top-k", None if request.top_k == 10 else str(request.top_k)),
        ("--corpus", None if request.corpus == "both" else request.corpus),
        ("--language", request.language),
        ("--min-score", None if request.min_score is None else f"{request.min_score:g}"),
        ("--text-weight", None if request.text_weight is None else f"{request.text_weight:g}"),
    ):
        words += [option, value] if value is not None else []
    for option, names in (
        ("--version", request.versions),
        ("--book", request.books),
        ("--document", request.documents),
        ("--expect", expect),
    ):
        words += [word for name in names or () for word in (option, name)]
    for option, given in (
        ("--hybrid", request.hybrid),
        ("--rerank", request.rerank),
        ("--collapse", request.collapse),
    ):
        words += [option] if given else []
    words = [*words, "--", query] if query.startswith("-") else [query, *words]
    return visible(shlex.join(["rag-assets", verb, *words]))
