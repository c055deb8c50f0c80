"""``rag-assets documents erase`` and ``bible erase``: nothing of a text remains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from rag_assets.bible.versions import check_version_code
from rag_assets.cli.opening import existing, open_corpus
from rag_assets.cli.options import Yes
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    plain,
    progress_bar,
    show_json,
    show_table,
)
from rag_assets.operations.erasure import Erased, Plan, erase, plan_document, plan_version
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.visible import count

Planning = Callable[[Connection, Settings], Plan]


def erase_document(
    key: Annotated[str, typer.Argument(help="Its key, from `rag-assets documents list`.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase a document: its file, texts, vectors, and what quotes it in tables and logs.

    Shows what this program cannot erase. It cannot be undone.

    ```
    rag-assets documents erase report.pdf
    ```
    """

    def plan(connection: Connection, settings: Settings) -> Plan:
        existing(connection, [key])
        return plan_document(connection, settings, key)

    _erase(plan, yes=yes, as_json=as_json)


def erase_version(
    code: Annotated[str, typer.Argument(help="The version to erase.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase a version: its folder, verses, vectors, and what quotes it in tables and logs.

    Shows what this program cannot erase. It cannot be undone.

    ```
    rag-assets bible erase EN_MINE
    ```
    """

    def plan(connection: Connection, settings: Settings) -> Plan:
        return plan_version(connection, settings, check_version_code(code))

    _erase(plan, yes=yes, as_json=as_json)


def _erase(planning: Planning, *, yes: bool, as_json: bool) -> None:
    from rag_assets.defs.launch import traces_in_dagster  # noqa: PLC0415 -- Dagster: 2 s

    with errors_as_sentences(as_json):
        settings, database = open_corpus()
        with database.connect() as connection:
            plan = planning(connection, settings)
        with traces_in_dagster(settings) as traces:
            if not yes:
                texts = count(len(plan.found.hashes), "text")
                source = f", with {plain(plan.source)}" if plan.source else ""
                typer.confirm(f"Erase {plain(plan.found.key)} ({texts}){source}?", abort=True)
            with progress_bar(quiet=as_json) as progress:
                erased = erase(database, settings, plan, traces, progress=progress)
    if as_json:
        show_json(erased)
    else:
        _show(erased)


def _show(erased: Erased) -> None:
    if erased.source:
        out.print(f"deleted: {plain(erased.source)}")
    rows = [{"erased": what, "number": number} for what, number in erased.deleted.items()]
    rows += [{"erased": f"quotes in {what}", "number": n} for what, n in erased.masked.items()]
    show_table(rows, empty="")
    out.print("", f"{plain(erased.key)} may still be in:", sep="\n")
    for place in erased.remains:
        out.print(f"- {plain(place)}")
