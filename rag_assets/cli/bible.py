"""``rag-assets bible``: versions on disk and in the database, what they cost, embedding them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag_assets.bible.intake import add_version
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.model import OddityKind, counts
from rag_assets.bible.oddities import in_order, joined, oddities_of, row_of
from rag_assets.bible.sql.verses import remove_version, stored_versions
from rag_assets.bible.versions import (
    VersionDeclaration,
    check_version_code,
    list_version_folders,
)
from rag_assets.cli.commands import Commands
from rag_assets.cli.embedding import counted, embed, plan, show_counts
from rag_assets.cli.opening import corpus_connection, open_corpus
from rag_assets.cli.options import Yes
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    plain,
    show_json,
    show_table,
)
from rag_assets.errors import ConfigurationError
from rag_assets.operations.sql.overview import embedded_counts
from rag_assets.retrieval.request import named_book
from rag_assets.settings.model import load_settings
from rag_assets.vectors.sql.spaces import ROLES, find_space

app = Commands(
    help="Bible versions: list, add, oddities, plan, embed, remove, erase.\n\n"
    "```\nrag-assets bible list\n```"
)


@app.command("list")
def list_versions(as_json: Json = False) -> None:
    """List the versions in RAG_BIBLES_DIR and in the database, and how far each is embedded.

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
    verses = "1 verse" if added.verses == 1 else f"{added.verses:,} verses"
    out.print(f"{code}: {verses} ({added.format}) in {plain(added.folder)}")
    show_counts(code, added.oddities)
    if not ai_allowed:
        out.print(
            "its text is sent to no provider: if its licence permits that, set "
            f"`ai_allowed = true` in {plain(added.folder)}/version.toml"
        )


@app.command()
def oddities(
    code: Annotated[str, typer.Argument(help="Version code.")],
    kind: Annotated[OddityKind | None, typer.Option(help="Only this kind.")] = None,
    book: Annotated[str | None, typer.Option(help="Only this book, by code or name.")] = None,
    as_json: Json = False,
) -> None:
    """List what is unusual in a version's source: joined, left out, missing or skipped verses.

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
        out.print(f"{code}: {counted(counts(found))}", end="\n\n")
    show_table([row_of(one) for one in joined(found)], empty="none")


app.command()(plan)
app.command()(embed)


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
            raise ConfigurationError(
                f"version {code} is not in the database: see `rag-assets bible list`"
            )
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
