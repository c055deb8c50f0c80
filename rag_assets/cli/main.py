"""``rag-assets``: the command line. Each command is a few lines over the package's functions."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from rag_assets.cli import (
    agents,
    alerting,
    audit,
    backfill,
    batches,
    bible,
    capacity,
    db,
    demo,
    doctor,
    documents,
    erase,
    evaluate,
    explain,
    exporter,
    incidents,
    index,
    keys,
    provider,
    release,
    search,
    serve,
    space,
    up,
    watch,
    worker,
)
from rag_assets.cli.commands import Commands
from rag_assets.cli.output import out, remark, show_error
from rag_assets.interrupts import end_on_signals
from rag_assets.settings.names import unsaid_unknown_names


class _App(Commands):
    """All commands, with the handling of signals and of unexpected errors."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        end_on_signals()
        try:
            return super().__call__(*arguments, **options)
        except Exception as error:
            show_error(error)
            sys.exit(1)


app = _App(
    name="rag-assets",
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},  # of every command
    pretty_exceptions_enable=False,  # they neither mask secrets nor print one sentence
    help="""
Operate a retrieval corpus on PostgreSQL and pgvector.

```
rag-assets demo                 # the samples: no key, no Docker, no root
rag-assets up                   # Dagster's UI and the retrieval API
rag-assets bible add EN_MINE samples/bibles/EN_SAMPLE --ai-allowed
rag-assets bible plan EN_MINE   # what embedding it would cost
rag-assets bible embed EN_MINE
rag-assets index build
rag-assets release activate
rag-assets search "in the beginning" --version EN_MINE
rag-assets documents add report.pdf
rag-assets doctor               # what is wrong, and how to fix it
```

Settings come from the environment and from `.env`: see docs/settings.md.
""",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"rag-assets {version('rag_assets')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """The options of ``rag-assets`` itself."""
    if context.invoked_subcommand == "doctor":  # where they are findings
        return
    for sentence in unsaid_unknown_names():
        remark(f"warning: {sentence}")


bible.app.command("erase")(erase.erase_version)
documents.app.command("erase")(erase.erase_document)
app.add_typer(db.app, name="db")
app.add_typer(bible.app, name="bible")
app.add_typer(documents.app, name="documents")
app.add_typer(index.app, name="index")
app.add_typer(release.app, name="release")
app.add_typer(space.app, name="space")
app.add_typer(keys.app, name="keys")
app.add_typer(backfill.app, name="backfill")
app.add_typer(batches.app, name="batches")
app.add_typer(incidents.app, name="incidents")
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("search")(search.search_command)
app.command("explain")(explain.explain_command)
app.command("doctor")(doctor.doctor)
app.command("provider")(provider.provider)
app.command("eval")(evaluate.evaluate)
app.command("audit")(audit.audit)
app.command("capacity")(capacity.capacity)
app.command("serve")(serve.serve)
app.command("mcp")(agents.mcp)
app.command("exporter")(exporter.exporter)
app.command("worker")(worker.worker)
app.command("watch")(watch.watch)
app.command("alertmanager-config")(alerting.alertmanager_config_command)

if __name__ == "__main__":
    app()
