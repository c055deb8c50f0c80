"""``rag-assets space``: changing the model as one guided act, and dropping what it leaves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from dotenv import set_key

from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import open_corpus, open_private
from rag_assets.cli.options import COUNT, Yes
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    plain,
    progress_bar,
    remark,
    show_json,
    show_record,
    show_table,
)
from rag_assets.cli.space_guide import Compared, Guide, silent
from rag_assets.errors import ConfigurationError
from rag_assets.operations.model_change import ModelChange, read_change
from rag_assets.postgres.migrations import open_migrated
from rag_assets.release.dropping import drop_space, unneeded_space
from rag_assets.release.releasing import Released
from rag_assets.settings.model import Settings, load_settings
from rag_assets.vectors.prices import planned_cost
from rag_assets.vectors.sql.spaces import ROLES

app = Commands(
    help="The embedding model: plan a change, change it, drop the old space.\n\n"
    "```\nrag-assets space plan --set RAG_EMBEDDING_PROVIDER=local\n```"
)

_OF_A_SPACE = (
    "RAG_EMBEDDING_PROVIDER",
    "RAG_EMBEDDING_SMALL_MODEL",
    "RAG_EMBEDDING_SMALL_DIMENSIONS",
    "RAG_EMBEDDING_LARGE_MODEL",
    "RAG_EMBEDDING_LARGE_DIMENSIONS",
    "RAG_EMBEDDING_PRECISION",
    "RAG_EMBEDDING_INSTRUCTIONS",
    "RAG_EMBEDDING_MODEL_ALIASES",
    "RAG_EMBEDDING_SEND_DIMENSIONS",
    "RAG_EMBEDDING_ENCODING",
    "RAG_EMBEDDING_ITEM_ORDER",
    "RAG_EMBEDDING_SMALL_USD_PER_MILLION_TOKENS",
    "RAG_EMBEDDING_LARGE_USD_PER_MILLION_TOKENS",
    "RAG_DOCUMENTS_LARGE",
)
_LOSES_RERANKING = (
    "the active release re-ranks documents by large vectors, which the new space would not have: "
    "add --set RAG_DOCUMENTS_LARGE=true"
)
_ENV = Path(".env")

NewSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the new model, such as RAG_EMBEDDING_PROVIDER=local; may be repeated. "
        "It is written to `.env` at the switch. "
        "Without it, the settings must already name the new model.",
    ),
]


@app.command()
def plan(new: NewSettings = None, as_json: Json = False) -> None:
    """Show what changing the model takes: both spaces, tokens, dollars. Writes nothing.

    ```
    rag-assets space plan --set RAG_EMBEDDING_PROVIDER=local
    ```
    """
    with errors_as_sentences(as_json):
        settings = _settings_with(new or ())
        with open_migrated(settings).connect() as connection:
            found = read_change(connection, settings, warn=remark)
    if as_json:
        show_json(_described(found))
        return
    _show(found, settings)
    if found.loses_reranking:
        remark(_LOSES_RERANKING)


@app.command()
def change(
    new: NewSettings = None,
    yes: Yes = False,
    accept_fewer_hits: Annotated[
        bool,
        typer.Option(
            "--accept-fewer-hits",
            help="Switch even if the new model answers fewer golden queries.",
        ),
    ] = False,
    after_rollback: Annotated[
        bool,
        typer.Option(
            "--after-rollback", help="Confirm that the rolled-back release's fault is fixed."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Change the model: plan, fill the new space, index and check it, compare both, switch.

    The released space serves until the switch, which is one transaction. If it is
    interrupted, run the same command again: completed steps are not repeated.

    ```
    rag-assets space change --set RAG_EMBEDDING_PROVIDER=local
    ```
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
        if found.loses_reranking:
            raise ConfigurationError(_LOSES_RERANKING)
        if found.needs_key:
            remark(
                "searches will need OPENAI_API_KEY: restart the API with it before you go on "
                "(docs/change-model.md)"
            )
        if not yes:
            typer.confirm("Fill the new space and switch to it?", abort=True)
        with progress_bar(quiet=as_json) as progress:
            guide = Guide(database, settings, progress, out.print if not as_json else silent)
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
    """Delete the vectors, codes and indexes of a space that no longer serves anything.

    ```
    rag-assets space drop 1
    ```
    """
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        settings, database = open_corpus()
        with database.connect() as connection:
            unneeded_space(connection, settings, space_id)
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


def _show_done(found: ModelChange, *, as_json: bool) -> None:
    if as_json:
        show_json(_described(found) | {"before": found.release.previous_id})
        return
    out.print(f"release {found.release.release_id} already serves {plain(found.wanted['small'])}")


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
