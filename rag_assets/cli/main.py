"""``rag-assets``: the command line. Each command is a few lines over the package's functions."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from rag_assets.cli import (
    alerting,
    backfill,
    bible,
    capacity,
    db,
    demo,
    doctor,
    documents,
    evaluate,
    exporter,
    incidents,
    index,
    provider,
    release,
    search,
    serve,
    space,
    up,
    worker,
)
from rag_assets.cli.output import out, show_error
from rag_assets.interrupts import end_on_signals


class _App(typer.Typer):
    """The commands, and what is so for all of them: signals, and errors that no command foresaw."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        end_on_signals()
        try:
            return super().__call__(*arguments, **options)
        except Exception as error:
            show_error(error)
            sys.exit(1)


app = _App(
    name="rag-assets",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},  # of every command
    pretty_exceptions_enable=False,  # they show neither masked words nor one sentence
    help="""
Operate a retrieval corpus on PostgreSQL and pgvector.

Start with **rag-assets demo**: it needs no key, no Docker and no root, and ends with a search.
Then **rag-assets up** shows the same in Dagster's UI.

A corpus of your own: **rag-assets bible add EN_MINE path/to/files --ai-allowed**, estimate the
cost with **rag-assets bible plan**, embed it with **rag-assets bible embed EN_MINE**, build and
check the index with **rag-assets index build**, release it with **rag-assets release activate**.

Documents: drop them into RAG_DOCUMENTS_URL, or **rag-assets documents add FILES**; follow their
progress with **rag-assets documents list**.

Settings come from the environment and from `.env`: see docs/settings.md.
""",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"rag-assets {version('rag_assets')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """What comes before any command."""


app.add_typer(db.app, name="db")
app.add_typer(bible.app, name="bible")
app.add_typer(documents.app, name="documents")
app.add_typer(index.app, name="index")
app.add_typer(release.app, name="release")
app.add_typer(space.app, name="space")
app.add_typer(serve.keys, name="keys")
app.add_typer(backfill.app, name="backfill")
app.add_typer(incidents.app, name="incidents")
app.command("alertmanager-config")(alerting.alertmanager_config_command)
app.command("capacity")(capacity.capacity)
app.command("search")(search.search_command)
app.command("eval")(evaluate.evaluate)
app.command("exporter")(exporter.exporter)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("provider")(provider.provider)
app.command("serve")(serve.serve)
app.command("up")(up.up)
app.command("worker")(worker.worker)

if __name__ == "__main__":
    app()
