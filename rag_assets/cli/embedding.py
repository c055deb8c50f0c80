"""``rag-assets bible plan`` and ``embed``: what embedding versions costs, and doing it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from rag_assets.bible.embed_verses import chosen_roles
from rag_assets.bible.model import counts
from rag_assets.bible.plan import (
    SpacePlan,
    check_budget,
    embeddable_versions,
    known_versions,
    plan_versions,
)
from rag_assets.bible.sql.oddities import stored_oddities
from rag_assets.cli.opening import corpus_connection
from rag_assets.cli.options import COUNT, version_codes, within
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
    show_waiting,
)
from rag_assets.embedding.batch_choice import Requests
from rag_assets.errors import ConfigurationError
from rag_assets.operations.backfill import in_order
from rag_assets.postgres.database import Connection
from rag_assets.vectors.prices import BATCH_PRICE, planned_cost, together
from rag_assets.vectors.sql.spaces import ROLES, Role

RequestsOption = Annotated[
    Requests, typer.Option(help="live: now; batch: within a day, at half the price; auto: by size.")
]
MaxRetries = Annotated[
    int | None,
    typer.Option(**within("rag_embedding_max_retries"), help="Retries of transient errors."),
]
Codes = Annotated[
    list[str] | None,
    typer.Argument(help="Version codes. Default: all.", autocompletion=version_codes),
]
InOrder = Annotated[
    list[str] | None,
    typer.Argument(
        help="Version codes, in this order.", show_default=False, autocompletion=version_codes
    ),
]


def plan(
    codes: Codes = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Assume that every verse is embedded again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the cost and the time of embedding, live and in batches. Writes nothing.

    A version whose files are new or changed is planned from its files.

    ```
    rag-assets bible plan
    rag-assets bible plan EN_SAMPLE PT_SAMPLE --overwrite
    ```
    """
    _show_plan(codes, overwrite=overwrite, as_json=as_json)


def _show_plan(
    codes: Sequence[str] | None,
    *,
    roles: Sequence[Role] = ROLES,
    overwrite: bool,
    limit: int | None = None,
    batch_size: int | None = None,
    budget_share: float | None = None,
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
        if budget_share is not None:  # each version is a run
            for code in codes or ():
                own = [found for found in plans if found.version_code == code]
                check_budget(settings, own, share=budget_share)


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
        "batch USD": found.batch_cost_usd,
        "batch hours": found.batch_hours,
    }


def embed(
    codes: InOrder = None,
    versions: Annotated[
        str | None,
        typer.Option(help="Instead of codes: patterns, embedded in this order: `PT_*,EN_*`."),
    ] = None,
    only_missing: Annotated[
        bool, typer.Option("--only-missing", help="Embed only what is missing. The default.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Embed every verse again, and pay for it.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(**COUNT, help="Embed only N verses, as a trial.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(**within("rag_embedding_batch_size"), help="Texts per request.")
    ] = None,
    sleep: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that each worker pauses after a request."),
    ] = None,
    max_retries: MaxRetries = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait for one answer.")
    ] = None,
    small_only: Annotated[bool, typer.Option("--small-only", help="Only the small space.")] = False,
    large_only: Annotated[bool, typer.Option("--large-only", help="Only the large space.")] = False,
    requests: RequestsOption = "live",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate tokens and cost.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load, embed and check versions: run the Dagster job `bible_embeddings` here.

    What is already embedded is not requested again.

    ```
    rag-assets bible embed EN_SAMPLE --dry-run
    rag-assets bible embed EN_SAMPLE PT_SAMPLE --requests auto
    rag-assets bible embed --versions 'PT_*,EN_*' --sleep 0.2 --timeout 60
    ```
    """
    with errors_as_sentences(as_json):
        _refuse_contradictions(small_only, large_only, only_missing, overwrite)
        roles = chosen_roles(small_only=small_only, large_only=large_only)
        chosen = _chosen(codes, versions)
    if dry_run:
        share = BATCH_PRICE if requests == "batch" else 1.0
        _show_plan(chosen, roles=roles, budget_share=share, overwrite=overwrite, limit=limit,
                   batch_size=batch_size, as_json=as_json)  # fmt: skip
        return
    config: dict[str, object] = {"limit": limit, "batch_size": batch_size, "sleep": sleep,
                                 "max_retries": max_retries, "timeout": timeout}  # fmt: skip
    config["requests"] = requests
    config["mode"] = "overwrite" if overwrite else "only_missing"
    config["spaces"] = "both" if len(roles) > 1 else roles[0]
    _embed(chosen, config, as_json=as_json)


def _refuse_contradictions(
    small_only: bool, large_only: bool, only_missing: bool, overwrite: bool
) -> None:
    """Refuse options that exclude each other.

    :raises ConfigurationError: naming them.
    """
    if small_only and large_only:
        raise ConfigurationError("--small-only and --large-only exclude each other: choose one")
    if only_missing and overwrite:
        raise ConfigurationError(
            "--only-missing and --overwrite exclude each other: --overwrite pays for every verse "
            "again, and is for a model that changed under its name"
        )


def _chosen(codes: Sequence[str] | None, patterns: str | None) -> Sequence[str]:
    """The codes given, or those that the patterns select, in the order of the patterns.

    :raises ConfigurationError: neither or both are given, or the patterns select no version.
    """
    if bool(codes) == (patterns is not None):
        raise ConfigurationError(
            "name the versions: codes, or --versions with patterns such as 'PT_*,EN_*'"
        )
    if codes or patterns is None:
        return codes or ()
    with corpus_connection() as (settings, connection):
        known = embeddable_versions(known_versions(connection, settings), warn=remark)
    for pattern in patterns.split(","):
        if not in_order(known, pattern):
            remark(f"no version matches {pattern.strip() or 'an empty pattern'}")
    if not (found := in_order(known, patterns)):
        raise ConfigurationError(
            f"--versions {patterns} selects no version: there are {', '.join(known) or 'none'}"
        )
    return found


def _embed(codes: Sequence[str], config: dict[str, object], *, as_json: bool) -> None:
    from rag_assets.defs.launch import run_bible_embeddings  # noqa: PLC0415 -- Dagster: 2 s

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
    hidden = ("failures", "oddities", "run_id", "waiting", "due")
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
            show_counts(row["version"], row["oddities"])
        show_waiting(row["version"], row["waiting"], row["due"])
        show_failures(row["version"], row["failures"])


def show_counts(code: str, oddities: dict[str, int]) -> None:
    """A line that says what was unusual, and how to see all of it."""
    if oddities:
        kinds = counted(oddities)
        out.print(f"{code}: oddities: {kinds} (`rag-assets bible oddities {code}` lists them)")
    else:
        out.print(f"{code}: no oddities")


def counted(oddities: dict[str, int]) -> str:
    """Kinds of oddities with their counts, as a list in words."""
    return ", ".join(f"{kind} {count:,}" for kind, count in oddities.items())
