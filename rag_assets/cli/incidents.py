"""``rag-assets incidents``: what went wrong, when, why, and what was done about it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markdown import Markdown

from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import corpus_connection, open_corpus
from rag_assets.cli.options import COUNT
from rag_assets.cli.output import Json, errors_as_sentences, out, plain, show_json, show_table
from rag_assets.operations.following import close_job_incident
from rag_assets.operations.report import read_report
from rag_assets.operations.sql.incidents import last_incidents

app = Commands(help="Incidents: list, show, close.\n\n```\nrag-assets incidents list\n```")


@app.command("list")
def list_last(
    limit: Annotated[
        int, typer.Option(**COUNT, help="Number of incidents, the latest first.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """List the latest incidents.

    ```
    rag-assets incidents list --limit 5
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        found = last_incidents(connection, limit=limit)
    if as_json:
        show_json(found)
        return
    show_table(
        [
            {
                "incident": one.name,
                "state": one.state,
                "cause": one.cause,
                "of": one.subject,
                "began": one.began_at,
                "resumed": one.recovering_at,
                "queue": one.longest_queue,
                "at work": one.documents_affected,
                "waited": one.documents_waited,
                "failed": one.failed_jobs,
            }
            for one in found
        ],
        empty="no incident so far",
    )


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="Its name in `incidents list`, such as incident-0007.")
    ],
    as_json: Json = False,
) -> None:
    """Show the report of an incident; the asset `incident_report` adds a plot.

    ```
    rag-assets incidents show incident-0007
    ```
    """
    with errors_as_sentences(as_json):
        report = read_report(open_corpus()[1], name)
    if as_json:
        show_json({"incident": report.incident, "seconds": report.seconds})
        return
    if out.is_terminal:
        out.print(Markdown(report.markdown))
    else:
        out.print(*report.markdown.split("\n"), sep="\n", markup=False)


@app.command()
def close(
    name: Annotated[str, typer.Argument(help="An incident of failed jobs, such as incident-0007.")],
    as_json: Json = False,
) -> None:
    """Close an incident of failed jobs for which no later run is planned.

    ```
    rag-assets incidents close incident-0007
    ```
    """
    with errors_as_sentences(as_json):
        incident = close_job_incident(open_corpus()[1], name)
    if as_json:
        show_json(incident)
        return
    out.print(f"{plain(incident.name)} is closed: {plain(incident.subject)}")
