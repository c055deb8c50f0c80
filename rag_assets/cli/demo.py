"""``rag-assets demo``: every step once, on a new machine, with the project's own samples."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
from rag_assets.embedding.embedder import check_local_model
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import SearchResult, search_text
from rag_assets.settings.dagster_home import check_dagster_home
from rag_assets.settings.model import Settings, load_settings
from rag_assets.vectors.sql.served import active_release
from rag_assets.vectors.sql.spaces import space_by_id
from rag_assets.visible import count

SAMPLES = ("PT_SAMPLE", "EN_SAMPLE")
_SAMPLES_DIR = Path(__file__).parents[2] / "samples" / "bibles"
QUERY = "a great fish swallowed Jonah"
ACROSS = (
    ("escravo que fugiu e volta como irmão", "EN_SAMPLE"),
    ("a plant that gave the prophet shade", "PT_SAMPLE"),
)
"""Queries in one language, and the version in the other that they are asked of."""

_ENV = """\
# Written by `rag-assets demo`, which found no API key: this embedder needs none.
# To change the model of a corpus, see docs/change-model.md; for all settings, docs/settings.md.
RAG_EMBEDDING_PROVIDER={provider}
# OPENAI_API_KEY=
"""


Free = Literal["local", "offline"]
FREE: tuple[Free, ...] = ("local", "offline")


@dataclass(frozen=True)
class Chosen:
    """The embedder of the demo, and why it is this one."""

    provider: Free
    why: str


def demo(as_json: Json = False) -> None:
    """Load, embed, check and release the two sample versions, then answer queries.

    It costs nothing: it uses the local model, or the lexical embedder where the local model is not
    installed. Without an API key and without a `.env` it writes one that names that embedder, so
    that `rag-assets up` uses it, too. A corpus that has been released keeps its embedder.

    ```
    rag-assets demo
    ```
    """
    with errors_as_sentences(as_json):
        check_dagster_home()
        _check_samples()
        settings = load_settings()
        database = open_database(settings)
        applied = migrate(database)
        chosen = choose_embedder(database, settings)
        settings = _use(chosen, settings, as_json)
        if not as_json:
            out.print(f"[bold]1[/bold] database ready: {plain(database.describe())}")
            out.print(f"  {count(len(applied), 'migration')} applied")
            out.print(f"  embedder: {chosen.provider}, {plain(chosen.why)}")
            out.print(f"[bold]2[/bold] copying the samples to {plain(settings.rag_bibles_dir)}/")
        for code in SAMPLES:
            _copy_sample(code, settings.rag_bibles_dir)
        results = _embed(settings, as_json)
        released = _release(settings, as_json)
        result = search_text(database, settings, QUERY, SearchRequest(top_k=3, snippets="part"))
        across = _search_across(database, settings) if chosen.provider == "local" else ()
    if as_json:
        show_json(
            {
                "database": database.describe(),
                "embedder": chosen,
                "runs": results,
                "release": released,
                "search": result,
                "across_languages": across,
            }
        )
        return
    _show(result, across)


def choose_embedder(database: Database, settings: Settings) -> Chosen:
    """One that costs nothing, whatever key there is; a released corpus keeps its own.

    :raises ConfigurationError: the corpus is released with a provider that may cost something.
    """
    with database.connect() as connection:
        release = active_release(connection)
        space = next((s for s in release.spaces if s.role == "small"), None) if release else None
        served = space_by_id(connection, space.space_id, "small").spec.provider if space else None
    if served == "openai":
        raise ConfigurationError(
            "the corpus here is released with another provider's model, and the demo would replace "
            "it: run the demo in a folder of its own"
        )
    for free in FREE:
        if served == free:
            changing = ": docs/change-model.md says how to change it" if free == "offline" else ""
            return Chosen(free, f"which serves the corpus here{changing}")
    for free in FREE:
        if settings.rag_embedding_provider == free:
            return Chosen(free, "by RAG_EMBEDDING_PROVIDER")
    try:
        check_local_model()
    except ConfigurationError as error:
        return Chosen("offline", f"which matches words, not meaning, because {error}")
    return Chosen("local", "multilingual-e5-small on this machine")


def _use(chosen: Chosen, settings: Settings, as_json: bool) -> Settings:
    """The settings with this embedder; written to `.env` where nothing chooses another."""
    named = "rag_embedding_provider" in settings.model_fields_set
    if not (settings.api_keys() or named or Path(".env").exists()):
        with open_private(Path(".env")) as file:  # where the provider's key is to go
            file.write(_ENV.format(provider=chosen.provider).encode())
        if not as_json:
            out.print(
                f"no API key: wrote .env with RAG_EMBEDDING_PROVIDER={chosen.provider} (free)"
            )
    return load_settings(rag_embedding_provider=chosen.provider)


def _search_across(database: Database, settings: Settings) -> tuple[SearchResult, ...]:
    """Ask in one language what is written in another."""
    return tuple(
        search_text(
            database,
            settings,
            query,
            SearchRequest(top_k=1, versions=(version,), snippets="part"),
        )
        for query, version in ACROSS
    )


def _show(result: SearchResult, across: tuple[SearchResult, ...]) -> None:
    out.print(f"[bold]5[/bold] rag-assets search {QUERY!r}")
    show_hits(result)
    for (query, version), found in zip(ACROSS, across, strict=False):
        out.print(f"  rag-assets search {query!r} --version {version}", highlight=False)
        show_hits(found)
    out.print(
        "",
        "Next: [bold]make up[/bold] starts Dagster's UI on http://127.0.0.1:3000, with these runs,",
        "and the retrieval API with a search page on http://127.0.0.1:8000.",
        "Your own text: [bold]rag-assets bible add --help[/bold]",
        sep="\n",
    )


def _check_samples() -> None:
    if not all((_SAMPLES_DIR / code).is_dir() for code in SAMPLES):
        raise ConfigurationError(
            "the samples are not part of the installed package: run the demo in a checkout"
        )


def _copy_sample(code: str, bibles_dir: Path) -> None:
    source = _SAMPLES_DIR / code
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
