"""``rag-assets db``: the database: its state, migrations, restoring, roles, psql."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import corpus_connection, open_corpus
from rag_assets.cli.options import Yes
from rag_assets.cli.output import (
    Json,
    err,
    errors_as_sentences,
    out,
    plain,
    show_json,
    show_record,
    show_table,
)
from rag_assets.errors import ConfigurationError
from rag_assets.operations.sql.corpus_restore import restore_corpus
from rag_assets.operations.sql.overview import overview
from rag_assets.postgres import embedded, embedded_upgrade, migrations, pgvector_faults
from rag_assets.postgres.database import open_dagster_database, open_database
from rag_assets.postgres.roles import grant_api, grant_reading
from rag_assets.settings.model import load_settings
from rag_assets.vectors.sql.tables import CORPORA

app = Commands(
    help="The database: status, migrate, upgrade, restore, grant, psql.\n\n"
    "```\nrag-assets db status\n```",
)


@app.command()
def status(as_json: Json = False) -> None:
    """Show the versions of server and extension, migrations, spaces and rows. Changes nothing.

    ```
    rag-assets db status
    ```
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        database = open_database(settings)
        waiting = migrations.pending(database)
        with database.connect() as connection:
            versions = migrations.server_versions(connection)
            spaces = [] if waiting else overview(connection)
    pgvector = pgvector_faults.judge_pgvector(versions)
    record = {
        "database": database.describe(),
        "server": "RAG_DATABASE_URL" if settings.rag_database_url else "embedded",
        "postgresql": versions.postgres,
        "pgvector": versions.pgvector or "missing",
        "pgvector_enabled": versions.pgvector_installed,
        "migrations_waiting": ", ".join(waiting) or "none",
    }
    if as_json:
        faults = pgvector.faults if pgvector else ()
        show_json(
            record | {"migrations_waiting": waiting, "spaces": spaces, "pgvector_faults": faults}
        )
        return
    show_record(record)
    if pgvector and pgvector.problem:
        remedy = pgvector.remedy(embedded=settings.rag_database_url is None)
        out.print("", pgvector.problem, remedy, sep="\n", markup=False)
    out.print()
    show_table(spaces, empty="no embedding space yet: `rag-assets demo` makes the first")


@app.command()
def migrate(as_json: Json = False) -> None:
    """Create the database if it does not exist, and apply pending migrations.

    ```
    rag-assets db migrate
    ```
    """
    with errors_as_sentences(as_json):
        database = open_database(load_settings())
        applied = migrations.migrate(database)
    if as_json:
        show_json({"database": database.describe(), "applied": applied})
        return
    for name in applied:
        out.print(f"applied {name}")
    if not applied:
        out.print("nothing to apply: up to date")


@app.command()
def upgrade(as_json: Json = False) -> None:
    """Upgrade the embedded server's data to the PostgreSQL of this package, and keep a copy.

    ```
    rag-assets db upgrade
    ```
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        if settings.rag_database_url is not None:
            raise ConfigurationError(
                "RAG_DATABASE_URL names a server of your own: upgrade it as its vendor describes"
            )
        if not as_json:
            err.print("copying; nothing is changed until the copy is complete …")
        done = embedded_upgrade.upgrade(settings.rag_home / "postgres")
    if as_json:
        show_json(done or {"before": None, "after": embedded.bundled_version(), "kept": None})
    elif done is None:
        out.print(f"nothing to do: PostgreSQL {embedded.bundled_version()}")
    else:
        out.print(
            f"upgraded from PostgreSQL {done.before} to {done.after}. The old data are in "
            f"{plain(done.kept)}: delete the folder when everything works"
        )


@app.command()
def restore(
    corpus: Annotated[str, typer.Argument(help="The corpus: bible or documents.")],
    file: Annotated[
        Path,
        typer.Argument(help="A dump made by pg_dump --format=custom.", exists=True, readable=True),
    ],
    wait_s: Annotated[
        float,
        typer.Option("--wait", min=0, max=86_400, help="Seconds to wait for runs that use it."),
    ] = 10,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Replace a corpus with that of a dump. The other corpus, keys and releases stay.

    ```
    rag-assets db restore bible corpus.dump
    ```
    """
    with errors_as_sentences(as_json):
        if corpus not in CORPORA:
            raise ConfigurationError(f"there is no corpus {corpus}: use {' or '.join(CORPORA)}")
        _, database = open_corpus()
        if not yes:
            typer.confirm(
                f"Replace the corpus {corpus} in {database.describe()} with {file}?", abort=True
            )
        done = restore_corpus(database, corpus, file, wait_s=wait_s)
    if as_json:
        show_json(done)
        return
    show_record(done.rows)
    which = "" if corpus == "bible" else f" --corpus {corpus}"
    out.print(f"next: `rag-assets index build --force{which}`, then `rag-assets release activate`")


@app.command()
def grant(
    role: Annotated[str, typer.Argument(help="An existing role of PostgreSQL.")],
    writes: Annotated[
        bool,
        typer.Option("--api", help="Also let it write what the API writes: cache, rates, uploads."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a role read the corpus and Dagster's state, for the API or the exporter.

    Run it as the owner of the database.

    ```
    rag-assets db grant rag_monitor
    rag-assets db grant rag_api --api
    ```
    """
    with errors_as_sentences(as_json):
        with corpus_connection() as (settings, connection):
            (grant_api if writes else grant_reading)(connection, role)
        with open_dagster_database(settings).connect() as connection:
            grant_reading(connection, role)  # the metrics include runs
    if as_json:
        show_json({"role": role, "may": "read and what the API writes" if writes else "read"})
        return
    out.print(f"{role} may read{', and write what the API writes' if writes else ''}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(
    context: typer.Context,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the connection parameters instead, without the password."
        ),
    ] = False,
) -> None:
    """Open psql on the corpus database; arguments after `--` go to psql.

    ```
    rag-assets db psql
    rag-assets db psql -- -c "SELECT * FROM bible_versions"
    ```
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        parameters = open_database(settings).parameters()
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER"}
    shown = {name: parameters[key] for key, name in names.items() if key in parameters}
    if as_json:
        show_json(shown)
        return
    # In the environment: every user of the machine sees arguments in the process list.
    secret = {"PGPASSWORD": parameters["password"]} if "password" in parameters else {}
    found = shutil.which("psql") if settings.rag_database_url else None
    program = found or str(embedded.binary("psql"))
    done = subprocess.run(
        [program, *context.args], env={**os.environ, **shown, **secret}, check=False
    )
    raise typer.Exit(done.returncode)
