"""Options that several commands share, and the bounds of numbers: those of their settings."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, TypedDict

import typer

from rag_assets.errors import ConfigurationError
from rag_assets.retrieval.request import MAX_TOP_K
from rag_assets.settings.model import bounds, load_settings


class Range(TypedDict, total=False):
    """The smallest and the largest number that an option takes, as Typer names them."""

    min: float
    max: float


LARGEST = 2**31 - 1
"""The largest integer of PostgreSQL: it bounds release numbers and limits."""
COUNT = Range(min=1, max=LARGEST)
DAYS = Range(min=1, max=36_500)
SECONDS = Range(min=1, max=86_400)


def version_codes(incomplete: str) -> list[str]:
    """Codes of the folders of versions that begin so, for the shell; the database is not asked."""
    with suppress(ConfigurationError, OSError):
        folders = load_settings().rag_bibles_dir.iterdir()
        return sorted(one.name for one in folders if one.name.startswith(incomplete))
    return []


def corpus_names(incomplete: str) -> list[str]:
    """What every installation has; the database is not asked."""
    return [name for name in ("bible", "both", "documents") if name.startswith(incomplete)]


InCorpus = Annotated[
    str,
    typer.Option(
        help="bible, a document corpus such as documents, or both: everything.",
        autocompletion=corpus_names,
    ),
]
DocumentCorpus = Annotated[str, typer.Option("--corpus", help="The document corpus.")]
OfCorpus = Annotated[str | None, typer.Option("--corpus", help="Only of this document corpus.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Limit = Annotated[int, typer.Option(**COUNT, help="Maximum number of documents.")]
TopK = Annotated[int, typer.Option(min=1, max=MAX_TOP_K, help="Number of hits.")]
Versions = Annotated[
    list[str] | None,
    typer.Option(help="Only this version; may be repeated.", autocompletion=version_codes),
]
Hybrid = Annotated[bool, typer.Option("--hybrid", help="Combine with full text search.")]
TextWeight = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="With --hybrid: weight of the words; the release's if unset."),
]
Rerank = Annotated[bool, typer.Option("--rerank", help="Re-rank the hits with the large model.")]
NoCrossEncoder = Annotated[
    bool,
    typer.Option("--no-cross-encoder", help="Leave out the re-ranking of RAG_RERANK_URL."),
]
Collapse = Annotated[
    bool, typer.Option("--collapse", help="One hit per verse over all versions, and per document.")
]


InLanguage = Annotated[
    str | None, typer.Option(help="Only versions and documents in this language.")
]
Books = Annotated[
    list[str] | None, typer.Option(help="Only this book, by code or name; may be repeated.")
]
Documents = Annotated[
    list[str] | None, typer.Option(help="Only this document, by its key; may be repeated.")
]
MinScore = Annotated[
    float | None, typer.Option(min=-1, max=1, help="Only hits with at least this similarity.")
]


def within(setting: str) -> Range:
    """The bounds of the setting that an option replaces."""
    found, given = bounds(setting), Range()
    if found.ge is not None:
        given["min"] = found.ge
    if found.le is not None:
        given["max"] = found.le
    return given
