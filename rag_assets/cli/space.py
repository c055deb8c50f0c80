"""``rag-assets space``: changing the model as one guided act, and dropping what it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from dotenv import set_key

from rag_assets.cli.opening import open_corpus, open_private
from rag_assets.cli.options import COUNT, Yes
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    plain,
    progress_bar,
    remark,
    show_failures,
    show_json,
    show_record,
    show_table,
)
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.worker import process_documents
from rag_assets.errors import ConfigurationError, GateRefusedError
from rag_assets.index.golden_spaces import GoldenHits, golden_hits
from rag_assets.operations.model_change import ModelChange, check_hits, read_change
from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import open_migrated
from rag_assets.progress import Progress
from rag_assets.release.dropping import drop_space
from rag_assets.release.releasing import Released, release
from rag_assets.settings.model import Settings, load_settings
from rag_assets.vectors.prices import planned_cost
from rag_assets.vectors.sql.spaces import ROLES, find_space, space_by_id
from rag_assets.vectors.sql.tables import Corpus, bible_table, documents_table, has_rows

app = typer.Typer(
    no_args_is_help=True, help="The embedding model: plan a change, change it, drop the old one."
)

_OF_A_SPACE = (
    "RAG_EMBEDDING_PROVIDER",
    "RAG_EMBEDDING_SMALL_MODEL",
    "RAG_EMBEDDING_SMALL_DIMENSIONS",
    "RAG_EMBEDDING_LARGE_MODEL",
    "RAG_EMBEDDING_LARGE_DIMENSIONS",
    "RAG_EMBEDDING_PRECISION",
    "RAG_EMBEDDING_INSTRUCTIONS",
    "RAG_EMBEDDING_SMALL_USD_PER_MILLION_TOKENS",
    "RAG_EMBEDDING_LARGE_USD_PER_MILLION_TOKENS",
)
_ENV = Path(".env")

NewSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the new model, such as RAG_EMBEDDING_PROVIDER=local; may be repeated. "
        "It is written to `.env` at the switch. None: the settings name the new model already.",
    ),
]


@app.command()
def plan(new: NewSettings = None, as_json: Json = False) -> None:
    """What changing the model takes: from which space to which, tokens, dollars. Writes nothing."""
    with errors_as_sentences(as_json):
        settings = _settings_with(new or ())
        with open_migrated(settings).connect() as connection:
            found = read_change(connection, settings, warn=remark)
    if as_json:
        show_json(_described(found))
        return
    _show(found, settings)


@app.command()
def change(
    new: NewSettings = None,
    yes: Yes = False,
    accept_fewer_hits: Annotated[
        bool, typer.Option(help="Switch also when the new model answers fewer golden queries.")
    ] = False,
    after_rollback: Annotated[
        bool, typer.Option("--after-rollback", help="The rolled-back release's fault is fixed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Change the model: plan, fill the new space, index and check it, compare both, switch.

    The released space serves until the switch, which is one transaction. Interrupted at any step,
    run the same command again: what is done is not repeated. For example:
    `rag-assets space change --set RAG_EMBEDDING_PROVIDER=local`
    """
    with errors_as_sentences(as_json):
        given = _parsed(new or ())
        settings = _settings_with(new or ())
        database = open_migrated(settings)
        with database.connect() as connection:
            found = read_change(connection, settings, warn=remark)
        if found.is_switched:
            _write_settings(given)
            _show_done(found, as_json=as_json)
            return
        if not as_json:
            _show(found, settings)
        if found.needs_key:
            remark(
                "searches will need OPENAI_API_KEY: restart the API with it before you go on "
                "(docs/change-model.md)"
            )
        if not yes:
            typer.confirm("Fill the new space and switch to it?", abort=True)
        with progress_bar(quiet=as_json) as progress:
            guide = _Guide(database, settings, progress, out.print if not as_json else _silent)
            guide.fill_versions(found.to_embed)
            guide.fill_documents(found.documents)
            guide.index(found)
            compared = guide.compare(found, accept_fewer_hits=accept_fewer_hits)
            # First the settings, then the switch: a process that starts between them embeds for the
            # new space, while the old one goes on serving.
            _write_settings(given)
            released = guide.switch(after_rollback=after_rollback)
    _show_switched(found, released, compared, as_json=as_json)


@app.command()
def drop(
    space_id: Annotated[
        int,
        typer.Argument(**COUNT, metavar="SPACE", help="Its number: see `rag-assets db status`."),
    ],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete the vectors, codes and indexes of a space that serves nothing any more."""
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        settings, database = open_corpus()
        if not yes:
            typer.confirm(
                f"Delete the vectors of space {space_id}? No release that searched it can be "
                "rolled back to.",
                abort=True,
            )
        space = drop_space(database, settings, space_id, progress=progress)
    if as_json:
        show_json({"space": space_id, "dropped": str(space.spec)})
        return
    out.print(f"space {space_id} ({plain(space.spec)}) is dropped")


@dataclass(frozen=True)
class Compared:
    """The same golden queries in both spaces; ``None`` where there are none."""

    served: GoldenHits | None
    wanted: GoldenHits | None


@dataclass(frozen=True)
class _Guide:
    """The steps of a change, each of which does only what is left of it."""

    database: Database
    settings: Settings
    progress: Progress
    say: Callable[[str], None]

    def fill_versions(self, codes: Sequence[str]) -> None:
        """Embed and check the versions, beside what serves."""
        self.say("[bold]1[/bold] embed the versions into the new space")
        # Dagster takes 2 s to import: here, so that planning does not wait.
        from rag_assets.defs.launch import run_bible_embeddings  # noqa: PLC0415

        for code in codes:
            result = run_bible_embeddings(code, {}, progress=self.progress, settings=self.settings)
            _stop_at(code, result.failures)
            self.say(f"  {code}: {result.embedded} embedded, {result.reused} reused")

    def fill_documents(self, keys: Sequence[str]) -> None:
        """Embed what is stored of the documents."""
        self.say(f"[bold]2[/bold] embed the documents into the new space: {len(keys)}")
        if not keys:
            return
        summary = process_documents(
            self.database,
            self.settings,
            open_inbox(self.settings),
            run_id=f"cli-{os.getpid()}",
            lane=None,
            keys=keys,
            progress=self.progress,
        )
        self.say(f"  {plain(summary)}")

    def index(self, found: ModelChange) -> None:
        """Decide on the new space's indexes, build and check them."""
        self.say("[bold]3[/bold] index and checks")
        from rag_assets.defs.launch import run_corpus_release  # noqa: PLC0415

        for corpus in self._corpora(found):
            result = run_corpus_release(
                {}, release=False, progress=self.progress, settings=self.settings,
                corpus_name=corpus,
            )  # fmt: skip
            _stop_at(f"{corpus} index", result.failures)
            self.say(f"  {corpus}: {result.decision}, {sum(result.checks.values())} checks passed")

    def compare(self, found: ModelChange, *, accept_fewer_hits: bool) -> Compared:
        """Ask both spaces the same golden queries.

        :raises GateRefusedError: the new one answers fewer.
        """
        self.say("[bold]4[/bold] the same golden queries in both spaces")
        served = found.release.space("bible", "small")
        with self.database.connect(autocommit=True) as connection:
            wanted = find_space(connection, self.settings, "small")
            if served is None or wanted is None:
                return Compared(None, None)
            before, after = (
                golden_hits(connection, self.settings, bible_table(space), found.versions)
                for space in (space_by_id(connection, served.space_id, "small"), wanted)
            )
        for name, hits in (("serves", before), ("new", after)):
            self.say(f"  {name}: {_shown(hits)}")
        reason = check_hits(before, after)
        if reason and not accept_fewer_hits:
            raise GateRefusedError((reason,))
        return Compared(before, after)

    def switch(self, *, after_rollback: bool) -> Released:
        """Release the new space, if the gate lets it."""
        self.say("[bold]5[/bold] switch")
        return release(
            self.database,
            self.settings,
            run_id=f"cli-{os.getpid()}",
            after_rollback=after_rollback,
            progress=self.progress,
        )

    def _corpora(self, found: ModelChange) -> tuple[Corpus, ...]:
        with self.database.connect() as connection:
            space = find_space(connection, self.settings, "small")
            documents = space is not None and has_rows(connection, documents_table(space))
        present: dict[Corpus, bool] = {"bible": bool(found.versions), "documents": documents}
        return tuple(corpus for corpus in present if present[corpus])


def _stop_at(of: str, failures: Sequence[str]) -> None:
    if failures:
        show_failures(of, failures)
        remark("nothing is switched; run the same command again to go on")
        raise typer.Exit(1)


def _silent(_: str) -> None: ...


def _parsed(new: Sequence[str]) -> dict[str, str]:
    """The settings given, by name.

    :raises ConfigurationError: one is none of a space's, or has no value.
    """
    given = {}
    for text in new:
        name, equals, value = text.partition("=")
        if name not in _OF_A_SPACE or not equals or not value:
            raise ConfigurationError(
                f"--set {name}: write NAME=VALUE, with one of {', '.join(_OF_A_SPACE)}"
            )
        given[name] = value
    return given


def _settings_with(new: Sequence[str]) -> Settings:
    """The settings with the new model's.

    :raises ConfigurationError: the environment sets one of them, which `.env` could not replace.
    """
    given = _parsed(new)
    fixed = [name for name in given if os.environ.get(name)]
    if fixed:
        raise ConfigurationError(
            f"{', '.join(fixed)}: the environment sets this, and what is written to .env would not "
            "count: change it there, then run `rag-assets space change` without --set"
        )
    return load_settings(**{name.lower(): value for name, value in given.items()})


def _write_settings(given: dict[str, str]) -> None:
    """Into `.env`, in the place of what it says now, its other lines as they are."""
    if given and not _ENV.exists():
        open_private(_ENV).close()
    for name, value in given.items():
        set_key(_ENV, name, value, quote_mode="auto")


def _described(found: ModelChange) -> dict[str, object]:
    return {
        "release": found.release.release_id,
        "served": {role: str(spec) for role, spec in found.served.items()},
        "wanted": {role: str(spec) for role, spec in found.wanted.items()},
        "switched": found.is_switched,
        "plans": found.plans,
        "documents": len(found.documents),
        "document_tokens": found.document_tokens,
        "cost_usd": found.cost_usd,
    }


def _show(found: ModelChange, settings: Settings) -> None:
    show_record(
        {
            "release": found.release.release_id,
            **{f"serves {role}": str(found.served[role]) for role in ROLES if role in found.served},
            **{f"new {role}": str(found.wanted[role]) for role in ROLES},
        }
    )
    out.print()
    rows: list[dict[str, object]] = [
        {
            "what": plan.version_code,
            "space": plan.role,
            "to embed": plan.texts,
            "tokens": plan.tokens,
            "minutes": plan.minutes,
        }
        for plan in found.plans
    ]
    if found.documents:
        rows.append(
            {
                "what": "documents",
                "space": "all",
                "to embed": len(found.documents),
                "tokens": found.document_tokens,
                "minutes": None,
            }
        )
    show_table(rows, empty="nothing is left to embed")
    tokens = sum(plan.tokens for plan in found.plans) + found.document_tokens
    out.print(f"together {tokens:,} tokens, {planned_cost(settings, ROLES, found.cost_usd)}")


def _shown(hits: GoldenHits | None) -> str:
    if hits is None:
        return "no golden queries (RAG_GOLDEN_QUERIES is none)"
    across = f", {hits.found_across} of {hits.across} in other languages" if hits.across else ""
    return f"{hits.found} of {hits.asked} answered in their language{across}"


def _show_done(found: ModelChange, *, as_json: bool) -> None:
    if as_json:
        show_json(_described(found) | {"before": found.release.previous_id})
        return
    out.print(f"release {found.release.release_id} serves {plain(found.wanted['small'])} already")


def _show_switched(
    found: ModelChange, released: Released, compared: Compared, *, as_json: bool
) -> None:
    old = sorted(
        {space.space_id for space in found.release.spaces}
        - {space.space_id for space in released.release.spaces}
    )
    if as_json:
        show_json(
            {
                "active": released.release.release_id,
                "before": found.release.release_id,
                "compared": asdict(compared),
                "old_spaces": old,
            }
        )
        return
    drops = ", ".join(f"`rag-assets space drop {space_id}`" for space_id in old)
    out.print(
        f"release {released.release.release_id} serves {plain(found.wanted['small'])}",
        "",
        "Restart what was started before: `rag-assets up`, `serve` and workers hold the old "
        "settings, and embed for the old space.",
        "Back to the old model: `rag-assets release rollback`",
        f"Once that is no longer needed: {drops}",
        sep="\n",
    )
