"""``rag-assets bible``: versions on disk and in the database, what they cost, embedding them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_assets.bible.embed_verses import chosen_roles
from rag_assets.bible.intake import add_version
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.model import OddityKind, counts
from rag_assets.bible.oddities import in_order, joined, oddities_of, row_of
from rag_assets.bible.plan import SpacePlan, check_budget, plan_versions
from rag_assets.bible.sql.oddities import stored_oddities
from rag_assets.bible.sql.verses import remove_version, stored_versions
from rag_assets.bible.versions import (
    VersionDeclaration,
    check_version_code,
    list_version_folders,
)
from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import corpus_connection, open_corpus
from rag_assets.cli.options import COUNT, Yes, version_codes, within
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    plain,
    progress_bar,
    remark,
    show_failures,
    show_json,
    show_table,
)
from rag_assets.errors import ConfigurationError
from rag_assets.operations.sql.overview import embedded_counts
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.request import named_book
from rag_assets.settings.model import load_settings
from rag_assets.vectors.prices import planned_cost, together
from rag_assets.vectors.sql.spaces import ROLES, Role, find_space

app = Commands(
    help="Bible versions: list, add, oddities, plan, embed, remove.\n\n"
    "```\nrag-assets bible list\n```"
)

Codes = Annotated[
    list[str] | None,
    typer.Argument(help="Version codes. Default: all.", autocompletion=version_codes),
]
InOrder = Annotated[
    list[str], typer.Argument(help="Version codes, in this order.", autocompletion=version_codes)
]


@app.command("list")
def list_versions(as_json: Json = False) -> None:
    """List the versions in RAG_BIBLES_DIR and in the database, and what of each is embedded.

    ```
    rag-assets bible list
    ```
    """
    with errors_as_sentences(as_json):
        settings, database = open_corpus()
        folders = {folder.code for folder in list_version_folders(settings.rag_bibles_dir)}
        with database.connect() as connection:
            stored = {version.code: version for version in stored_versions(connection)}
            counts = {}
            for role in ROLES:
                space = find_space(connection, settings, role)
                counts[role] = embedded_counts(connection, space.space_id) if space else {}
    rows: list[dict[str, object]] = []
    for code in sorted(folders | set(stored)):
        version = stored.get(code)
        rows.append(
            {
                "version": code,
                "name": version.name if version else None,
                "language": version.language if version else None,
                "licence": version.licence if version else None,
                "ai_allowed": version.ai_allowed if version else None,
                "verses": version.verses if version else None,
                "small": counts["small"].get(code, 0),
                "large": counts["large"].get(code, 0),
                "folder": "there" if code in folders else "gone",
            }
        )
    if as_json:
        show_json(rows)
        return
    show_table(
        rows, empty=f"no version in {settings.rag_bibles_dir}/: `rag-assets bible add` adds one"
    )


@app.command()
def add(
    code: Annotated[
        str, typer.Argument(help="Its code: language and abbreviation, such as PT_NAA.")
    ],
    source: Annotated[Path, typer.Argument(help="A file, a zip, or a folder of them.")],
    name: Annotated[str | None, typer.Option(help="Its name. Default: the code.")] = None,
    language: Annotated[
        str | None, typer.Option(help="BCP 47 tag, such as pt-BR. Default: from the code.")
    ] = None,
    licence: Annotated[str, typer.Option(help="SPDX identifier or free text.")] = "not declared",
    ai_allowed: Annotated[
        bool,
        typer.Option(
            "--ai-allowed", help="The licence permits sending the text to an embedding provider."
        ),
    ] = False,
    enabled_for_rag: Annotated[
        bool,
        typer.Option(
            " /--no-enabled-for-rag", show_default=False, help="Do not let retrieval serve it."
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Validate a version's files and copy them into RAG_BIBLES_DIR.

    USFM, USX, USFX, OSIS, Zefania, JSON, CSV and vref are recognised by content. The version is
    then loaded and embedded by the sensor, or by `rag-assets bible embed`.

    ```
    rag-assets bible add EN_MINE samples/bibles/EN_SAMPLE --ai-allowed
    ```
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        limits = reading_limits(settings)
        declaration = VersionDeclaration(
            name=name or code,
            language=language or check_version_code(code).split("_")[0].lower(),
            licence=licence,
            ai_allowed=ai_allowed,
            enabled_for_rag=enabled_for_rag,
        )
        added = add_version(settings.rag_bibles_dir, code, source, declaration, limits)
    if as_json:
        show_json(added)
        return
    out.print(f"{code}: {added.verses:,} verses ({added.format}) in {plain(added.folder)}")
    _show_counts(code, added.oddities)
    if not ai_allowed:
        out.print(
            "its text is sent to no provider: if its licence permits that, set "
            f"`ai_allowed = true` in {plain(added.folder)}/version.toml"
        )


def _show_counts(code: str, oddities: dict[str, int]) -> None:
    """A line that says what was unusual, and how to see all of it."""
    if oddities:
        kinds = _counted(oddities)
        out.print(f"{code}: oddities: {kinds} (`rag-assets bible oddities {code}` lists them)")
    else:
        out.print(f"{code}: no oddities")


def _counted(oddities: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in oddities.items())


@app.command()
def oddities(
    code: Annotated[str, typer.Argument(help="Version code.")],
    kind: Annotated[OddityKind | None, typer.Option(help="Only this kind.")] = None,
    book: Annotated[str | None, typer.Option(help="Only this book, by code or name.")] = None,
    as_json: Json = False,
) -> None:
    """Everything unusual in a version's source: what was joined, left out, missing or skipped.

    A version whose files are new or changed is read from its files.

    ```
    rag-assets bible oddities EN_SAMPLE --kind blank
    ```
    """
    with errors_as_sentences(as_json):
        wanted = None if book is None else named_book(book)
        with corpus_connection() as (settings, connection):
            found = in_order(
                one
                for one in oddities_of(connection, settings, check_version_code(code))
                if kind in (None, one.kind) and wanted in (None, one.book)
            )
    if as_json:
        show_json([row_of(one) for one in found])
        return
    if found:
        out.print(f"{code}: {_counted(counts(found))}", end="\n\n")
    show_table([row_of(one) for one in joined(found)], empty="none")


@app.command()
def plan(
    codes: Codes = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Assume that every verse is embedded again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what embedding would cost: rows, tokens, dollars, requests, minutes. Writes nothing.

    A version whose files are new or changed is planned from its files.

    ```
    rag-assets bible plan
    rag-assets bible plan EN_SAMPLE PT_SAMPLE --overwrite
    ```
    """
    _show_plan(codes, overwrite=overwrite, as_json=as_json)


def _show_plan(
    codes: list[str] | None,
    *,
    roles: Sequence[Role] = ROLES,
    overwrite: bool,
    limit: int | None = None,
    batch_size: int | None = None,
    check_budgets: bool = False,
    as_json: bool,
) -> None:
    with errors_as_sentences(as_json), corpus_connection() as (settings, connection):
        plans = plan_versions(
            connection,
            settings,
            codes or (),
            roles=roles,
            overwrite=overwrite,
            limit=limit,
            batch_size=batch_size,
            warn=remark,
        )
        if as_json:
            show_json(plans)
        else:
            _show_plans(plans, planned_cost(settings, roles, together(p.cost_usd for p in plans)))
        if check_budgets:  # each version is a run
            for code in codes or ():
                check_budget(settings, [found for found in plans if found.version_code == code])


def _show_plans(plans: Sequence[SpacePlan], cost: str) -> None:
    show_table(
        [_plan_row(found) for found in plans],
        empty="no version yet: `rag-assets bible add` adds one",
    )
    out.print(f"total: {sum(found.tokens for found in plans):,} tokens, {cost}")
    for space, provider in {found.space: found.provider for found in plans}.items():
        if space.provider == "openai":
            unknown = "not probed yet: the first run does, by a small request"
            out.print(f"{plain(str(space))}: {plain(provider or unknown)}")


def _plan_row(found: SpacePlan) -> dict[str, object]:
    return {
        "version": found.version_code,
        "space": found.role,
        "rows": found.rows,
        "reused": found.reused,
        "texts": found.texts,
        "tokens": found.tokens,
        "USD": "unknown" if found.cost_usd is None else found.cost_usd,
        "requests": found.requests,
        "minutes": found.minutes,
    }


@app.command()
def embed(
    codes: InOrder,
    limit: Annotated[
        int | None, typer.Option(**COUNT, help="Embed only N verses, as a trial.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(**within("rag_embedding_batch_size"), help="Texts per request.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Embed every verse again, and pay for it.")
    ] = False,
    small_only: Annotated[bool, typer.Option("--small-only", help="Only the small space.")] = False,
    large_only: Annotated[bool, typer.Option("--large-only", help="Only the large space.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate tokens and cost.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load, embed and check versions: run the Dagster job `bible_embeddings` here.

    What is already embedded is not requested again.

    ```
    rag-assets bible embed EN_SAMPLE --dry-run
    rag-assets bible embed EN_SAMPLE PT_SAMPLE
    ```
    """
    with errors_as_sentences(as_json):
        if small_only and large_only:
            raise ConfigurationError("--small-only and --large-only exclude each other: choose one")
        chosen = chosen_roles(small_only=small_only, large_only=large_only)
    if dry_run:
        _show_plan(
            codes,
            roles=chosen,
            check_budgets=True,
            overwrite=overwrite,
            limit=limit,
            batch_size=batch_size,
            as_json=as_json,
        )
        return
    from rag_assets.defs.launch import run_bible_embeddings  # noqa: PLC0415 -- Dagster: 2 s

    config: dict[str, object] = {
        "limit": limit,
        "batch_size": batch_size,
        "mode": "overwrite" if overwrite else "only_missing",
        "spaces": "both" if len(chosen) > 1 else chosen[0],
    }
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        results = [run_bible_embeddings(code, config, progress=progress) for code in codes]
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        rows = [_embedded(connection, result) for result in results]
    if as_json:
        show_json(rows)
    else:
        _show_embedded(rows)
    if any(result.failures for result in results):
        raise typer.Exit(1)


def _embedded(connection: Connection, result: Any) -> dict[str, Any]:
    found = stored_oddities(connection, result.version)
    return dataclasses.asdict(result) | {"oddities": None if found is None else counts(found)}


def _show_embedded(rows: Sequence[dict[str, Any]]) -> None:
    """A table of versions, then a line for the oddities of each, and one for each failure."""
    hidden = ("failures", "oddities", "run_id")
    show_table(
        [
            {key: row[key] for key in row if key not in hidden}
            | ({"cost_usd": "unknown"} if row["cost_usd"] is None else {})
            for row in rows
        ],
        empty="",
    )
    for row in rows:
        if row["oddities"] is not None:
            _show_counts(row["version"], row["oddities"])
        show_failures(row["version"], row["failures"])


@app.command()
def remove(
    code: Annotated[str, typer.Argument(help="The version to delete.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete a version's verses and vectors from the database. Its files stay.

    If its folder is gone, its partition in Dagster is removed, too.

    ```
    rag-assets bible remove EN_MINE
    ```
    """
    from rag_assets.defs.launch import has_partition, remove_partition  # noqa: PLC0415 -- Dagster

    with errors_as_sentences(as_json):
        settings, database = open_corpus()
        with database.connect() as connection:
            stored = code in {version.code for version in stored_versions(connection)}
        gone = code not in {folder.code for folder in list_version_folders(settings.rag_bibles_dir)}
        partition = gone and has_partition(code)
        if not stored and not partition:
            raise ConfigurationError(f"version {code} is not in the database")
        if not yes:
            typer.confirm(f"Delete {code} and the vectors that were paid for?", abort=True)
        with database.connect() as connection:
            removed = remove_version(connection, code)
        if partition:
            remove_partition(code)
    if as_json:
        show_json({"version": code, "verses_removed": removed, "partition_removed": partition})
        return
    out.print(f"{code}: {removed:,} verses and their vectors deleted")
    if partition:
        out.print(f"{code}: its folder is gone, so its partition in Dagster was removed too")
