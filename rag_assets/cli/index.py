"""``rag-assets index``: the generations of the vector index, and building one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import corpus_connection
from rag_assets.cli.options import within
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
from rag_assets.errors import ConfigurationError
from rag_assets.index.build_size import check_build
from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.sql import generations
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import load_settings
from rag_assets.vectors.sql import code_sets
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.served import pinned_generations
from rag_assets.vectors.sql.spaces import space_spec
from rag_assets.vectors.sql.tables import Corpus, VectorTable

app = Commands(help="The vector index: status, build.\n\n```\nrag-assets index status\n```")


Dim = Annotated[
    int | None,
    typer.Option(
        **within("rag_embedding_small_dimensions"),
        help="Build only if the vectors have this dimension.",
    ),
]


@app.command()
def status(as_json: Json = False) -> None:
    """Show the generations of each index, and the last decision with its reasons.

    ```
    rag-assets index status
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (settings, connection):
        tables = [_describe(connection, table) for table in indexed_tables(connection, settings)]
    if as_json:
        show_json(tables)
        return
    for table in tables:
        rows = table.pop("generations")
        show_record(table)
        out.print()
        show_table(rows if isinstance(rows, list) else [], empty="no index")
        out.print()


@app.command()
def build(
    lists: Annotated[
        int | None,
        typer.Option(**within("rag_index_lists"), help="Build now, with this many lists."),
    ] = None,
    candidates: Annotated[
        list[int] | None,
        typer.Option(
            "--candidate",
            **within("rag_index_lists"),
            help="Build with each of these numbers of lists, keep the best; may be repeated.",
        ),
    ] = None,
    maintenance_work_mem: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory for this build, such as 4GB.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Type of the index: vector or halfvec.")
    ] = None,
    dim: Dim = None,
    alter_dim: Annotated[
        bool,
        typer.Option(
            "--alter-dim", help="Explain how to change their dimension if they have another."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Build even if there is no reason to.")
    ] = False,
    corpus: Annotated[Corpus, typer.Option(help="The corpus whose index is built.")] = "bible",
    as_json: Json = False,
) -> None:
    """Decide on the index, build it if necessary, and check it. Releases nothing.

    ```
    rag-assets index build
    rag-assets index build --candidate 250 --candidate 1000
    rag-assets index build --lists 1000 --dim 1536 --maintenance-work-mem 4GB
    ```
    """
    with errors_as_sentences(as_json):
        check_build(maintenance_work_mem=maintenance_work_mem, precision=precision)
        _check_dimensions(corpus, dim, alter_dim=alter_dim)
    config = {
        "lists": lists,
        "lists_candidates": candidates or [],
        "maintenance_work_mem": maintenance_work_mem,
        "precision": precision,
        "force": force,
    }
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        # Dagster takes 2 s to import: here, so that the other commands do not wait for it.
        from rag_assets.defs.launch import run_corpus_release  # noqa: PLC0415

        result = run_corpus_release(config, release=False, progress=progress, corpus_name=corpus)
    _show_build(result, as_json=as_json)
    if result.failures:
        raise typer.Exit(1)


def _check_dimensions(corpus: Corpus, dim: int | None, *, alter_dim: bool) -> None:
    """Refuse a build over vectors of another dimension, and name the change of model to make.

    No column is altered, whatever is asked for: vectors of one dimension are not those of another.

    :raises ConfigurationError: the settings' space has another dimension.
    """
    if dim is None:
        if alter_dim:
            raise ConfigurationError("--alter-dim needs the dimension: --dim N")
        return
    settings = load_settings()
    spec = space_spec(settings, "small")
    if dim == spec.dimensions:
        if alter_dim:
            remark(f"nothing to alter: the vectors of {spec} have {dim} dimensions by their type")
        return
    raise ConfigurationError(
        f"the {corpus} index is over vectors of {spec.dimensions} dimensions ({spec}), not {dim}. "
        "An index cannot change that: the texts are embedded again beside what serves, then "
        f"switched: `rag-assets space change --set RAG_EMBEDDING_SMALL_DIMENSIONS={dim}` "
        "(docs/change-model.md)"
    )


def _show_build(result: Any, *, as_json: bool) -> None:
    if as_json:
        show_json(result)
    else:
        if result.decision:
            out.print(f"{result.decision}: {plain(result.reasons)}")
        checks = [{"check": name, "passed": passed} for name, passed in result.checks.items()]
        if checks:
            show_table(checks, empty="")
        for failure in result.failures:
            out.print(f"[red]{plain(failure)}[/red]")


def _describe(connection: Connection, table: VectorTable) -> dict[str, object]:
    decision = generations.last_decision(connection, table)
    pinned = pinned_generations(connection, kept=0)
    names = {index.generation: index.name for index in live_indexes(connection, table)}
    return {
        "table": str(table),
        "decision": decision.action if decision else None,
        "reasons": "; ".join(decision.reasons) if decision else None,
        "code sets": ", ".join(map(str, code_sets.code_sets(connection, table))) or None,
        "candidates": decision.codes.candidates if decision and decision.codes else None,
        "filtered_candidates": decision.codes.filtered if decision and decision.codes else None,
        "one_scope_candidates": decision.codes.one_scope if decision and decision.codes else None,
        "generations": [
            {
                "generation": made.number,
                "in force": made.number in pinned,
                "index": names[made.number],
                "lists": made.lists,
                "holds": f"codes of set {made.codes.code_set}" if made.codes else made.precision,
                "probes": made.probes.plain if made.probes else None,
                "rows at build": made.rows_at_build,
                "MB": round(made.index_bytes / 1e6, 1),
                "built": made.started_at,
            }
            for made in generations.ready_generations(connection, table)
        ],
    }
