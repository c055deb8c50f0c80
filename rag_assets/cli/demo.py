"""``rag-assets demo``: every step once, on a new machine, with the project's own samples."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import typer

from rag_assets.cli.opening import open_private
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    plain,
    progress_bar,
    show_failures,
    show_json,
)
from rag_assets.cli.search import show_hits
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_text
from rag_assets.settings.model import Settings, load_settings
from rag_assets.visible import count

SAMPLES = ("PT_SAMPLE", "EN_SAMPLE")
QUERY = "a great fish swallowed Jonah"
_ENV = """\
# Written by `rag-assets demo`, which found no API key: the lexical embedder needs none.
# To use OpenAI, put your key here and remove the other line: see docs/settings.md.
RAG_EMBEDDING_PROVIDER=offline
# OPENAI_API_KEY=
"""


def demo(as_json: Json = False) -> None:
    """Load, embed, check and release the two sample versions, then answer a query.

    It uses the offline embedder and costs nothing. If there is neither an API key nor a `.env`, it
    writes a `.env` that selects this embedder, so that `rag-assets up` uses it, too.

    ```
    rag-assets demo
    ```
    """
    with errors_as_sentences(as_json):
        settings = _choose_embedder(as_json)
        database = open_database(settings)
        applied = migrate(database)
        if not as_json:
            out.print(f"[bold]1[/bold] database ready: {plain(database.describe())}")
            out.print(
                f"  {count(len(applied), 'migration')} applied, "
                f"embedder: {settings.rag_embedding_provider}"
            )
            out.print(f"[bold]2[/bold] copying the samples to {plain(settings.rag_bibles_dir)}/")
        for code in SAMPLES:
            _copy_sample(code, settings.rag_bibles_dir)
        results = _embed(settings, as_json)
        released = _release(settings, as_json)
        result = search_text(database, settings, QUERY, SearchRequest(top_k=3))
    if as_json:
        show_json(
            {
                "database": database.describe(),
                "runs": results,
                "release": released,
                "search": result,
            }
        )
        return
    out.print(f"[bold]5[/bold] rag-assets search {QUERY!r}")
    show_hits(result, QUERY)
    out.print(
        "",
        "Next: [bold]make up[/bold] starts Dagster's UI on http://127.0.0.1:3000, with these runs,",
        "and the retrieval API with a search page on http://127.0.0.1:8000.",
        "Your own text: [bold]rag-assets bible add --help[/bold]",
        sep="\n",
    )


def _choose_embedder(as_json: bool) -> Settings:
    """Offline, even if there is a key: a demo spends no money."""
    settings = load_settings()
    chosen = "rag_embedding_provider" in settings.model_fields_set
    if not (settings.api_keys() or chosen or Path(".env").exists()):
        with open_private(Path(".env")) as file:  # the provider's key will be in it
            file.write(_ENV.encode())
        if not as_json:
            out.print("no API key: wrote .env with RAG_EMBEDDING_PROVIDER=offline (lexical, free)")
    return load_settings(rag_embedding_provider="offline")


def _copy_sample(code: str, bibles_dir: Path) -> None:
    source = Path(__file__).parents[2] / "samples" / "bibles" / code
    if not source.is_dir():
        raise ConfigurationError(
            "the samples are not part of the installed package: run the demo in a checkout"
        )
    target = bibles_dir / code
    if target.exists():
        return
    bibles_dir.mkdir(parents=True, exist_ok=True)
    # Copied to a hidden folder beside it, then renamed: no reader sees half a version.
    with tempfile.TemporaryDirectory(dir=bibles_dir, prefix=".copying-") as scratch:
        shutil.copytree(source, Path(scratch) / code).rename(target)


def _embed(settings: Settings, as_json: bool) -> list[object]:
    if not as_json:
        out.print("[bold]3[/bold] running the job bible_embeddings: read, embed, check")
    # Dagster takes 2 s to import: imported after the first lines are printed.
    from rag_assets.defs.launch import run_bible_embeddings  # noqa: PLC0415

    results: list[object] = []
    with progress_bar(quiet=as_json) as progress:
        for code in SAMPLES:
            result = run_bible_embeddings(code, {}, progress=progress, settings=settings)
            results.append(result)
            if result.failures:
                show_failures(code, result.failures)
                raise typer.Exit(1)
            if not as_json:
                out.print(
                    f"  {code}: {result.verses} verses, {result.embedded} vectors embedded, "
                    f"{result.reused} reused, {result.checks_passed} checks passed"
                )
    return results


def _release(settings: Settings, as_json: bool) -> object:
    if not as_json:
        out.print("[bold]4[/bold] running the job corpus_release: index, checks, gate")
    from rag_assets.defs.launch import run_corpus_release  # noqa: PLC0415

    with progress_bar(quiet=as_json) as progress:
        result = run_corpus_release({}, release=True, progress=progress, settings=settings)
    if result.failures:
        show_failures("release", result.failures)
        raise typer.Exit(1)
    if not as_json:
        out.print(f"  index: {result.decision}, {plain(result.reasons)}")
        out.print(
            f"  {sum(result.checks.values())} checks passed, release {result.release_id} is active"
        )
    return result
