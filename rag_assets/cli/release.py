"""``rag-assets release``: what is served, the gate, activation, rollback."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_assets.audit.releasing import without_repairs
from rag_assets.cli.commands import Commands
from rag_assets.cli.junit import junit_xml
from rag_assets.cli.opening import corpus_connection, open_corpus
from rag_assets.cli.options import COUNT
from rag_assets.cli.output import (
    Json,
    err,
    errors_as_sentences,
    indented,
    out,
    plain,
    progress_bar,
    show_json,
    show_reasons,
    show_record,
    show_table,
)
from rag_assets.errors import ConfigurationError
from rag_assets.operations.automation import automation_now
from rag_assets.postgres.database import Connection
from rag_assets.release.dropping import drop_indexes_of
from rag_assets.release.gate import GateVerdict
from rag_assets.release.refusal import FixGroup, grouped
from rag_assets.release.releasing import activate as activate_earlier
from rag_assets.release.releasing import evaluate_gate, release, roll_back
from rag_assets.release.sql.releases import last_releases, release_by_id
from rag_assets.vectors.sql.served import Release, active_release
from rag_assets.visible import count

app = Commands(
    help="Releases: status, gate, activate, rollback, diff.\n\n```\nrag-assets release status\n```"
)

LeaveOut = Annotated[
    bool | None,
    typer.Option(
        "--leave-out-failing/--refuse-failing",
        help="If a version fails: leave it out, or refuse the release.",
    ),
]

AfterRollback = Annotated[
    bool,
    typer.Option(
        "--after-rollback", help="Confirm that the fault of the rolled-back release is fixed."
    ),
]


@app.command()
def status(
    limit: Annotated[int, typer.Option(**COUNT, help="Number of releases to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Show what is served, and the last releases and refusals.

    ```
    rag-assets release status
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        last = last_releases(connection, limit=limit)
        active = active_release(connection)
    if as_json:
        show_json({"active": active, "releases": last})
        return
    if active is None:
        out.print("nothing is released yet: `rag-assets release gate` shows what is missing")
    else:
        show_record(_describe(active))
        out.print()
    show_table([_row(found) for found in last], empty="")
    refused = next((found for found in last if found.state == "refused"), None)
    if refused is not None and refused is last[0]:
        out.print()
        out.print(f"release {refused.release_id} was refused:")
        recorded = refused.manifest.get("fixes")  # by versions before this one, there are none
        if recorded:
            _show_fixes([FixGroup(**fix) for fix in recorded])
        else:
            show_reasons(refused.reasons)


@app.command()
def gate(
    leave_out_failing: LeaveOut = None,
    after_rollback: AfterRollback = False,
    junit: Annotated[
        Path | None, typer.Option(help="Also write the result to this file, as JUnit XML.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check whether the gate would pass a release now: exit status 0 or 1, with the reasons.

    Nothing is stored or released.

    ```
    rag-assets release gate
    rag-assets release gate --junit gate.xml
    ```
    """
    with errors_as_sentences(as_json):
        with corpus_connection() as (settings, connection):
            evidence, verdict = evaluate_gate(
                connection,
                settings,
                leave_out_failing=leave_out_failing,
                after_rollback=after_rollback,
            )
            fixes = grouped(verdict.reasons, automation_now(settings)) if verdict.reasons else ()
        if junit is not None:
            junit.write_text(junit_xml(evidence, verdict), encoding="utf-8")
    if as_json:
        show_json({"passed": verdict.passed, **_verdict(verdict), "fixes": fixes})
    else:
        _show_verdict(verdict, fixes)
    raise typer.Exit(0 if verdict.passed else 1)


@app.command()
def activate(
    release_id: Annotated[
        int | None,
        typer.Argument(**COUNT, help="An earlier release. Default: what passes the gate."),
    ] = None,
    leave_out_failing: LeaveOut = None,
    after_rollback: AfterRollback = False,
    as_json: Json = False,
) -> None:
    """Release what passes the gate, or activate an earlier release again.

    ```
    rag-assets release activate
    rag-assets release activate 7
    ```
    """
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        settings, database = open_corpus()
        if release_id is None:
            with without_repairs(database, progress):
                released = release(
                    database,
                    settings,
                    run_id=f"cli-{os.getpid()}",
                    leave_out_failing=leave_out_failing,
                    after_rollback=after_rollback,
                    automation=automation_now(settings),
                    progress=progress,
                )
            now, before = released.release, released.before
        else:
            now, before = activate_earlier(database, release_id, progress=progress)
    _show_switch(now, before, as_json=as_json)


@app.command()
def rollback(
    drop_index: Annotated[
        bool,
        typer.Option(
            "--drop-index",
            help="Then drop, concurrently, the indexes that only the rolled-back release used.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Restore the previous release immediately: its index, probes, versions and spaces.

    A second rollback restores the one before, up to RAG_RELEASES_KEPT.

    ```
    rag-assets release rollback
    rag-assets release rollback --drop-index
    ```
    """
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        settings, database = open_corpus()
        now, before = roll_back(database, progress=progress)
        if drop_index:
            for name in drop_indexes_of(database, settings, before, progress=progress):
                progress.say(f"dropped {name}")
    _show_switch(now, before, as_json=as_json)


@app.command()
def diff(
    first: Annotated[
        int | None, typer.Argument(**COUNT, help="A release. Default: the active one.")
    ] = None,
    second: Annotated[
        int | None, typer.Argument(**COUNT, help="Another. Default: what would be released now.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the differences between two releases, or between the active one and the next.

    ```
    rag-assets release diff
    rag-assets release diff 6 7
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (settings, connection):
        one = _content(connection, first)
        if second is None:
            _, verdict = evaluate_gate(connection, settings)
            other: Mapping[str, Any] = verdict.content
        else:
            other = _content(connection, second)
    rows = _differences(one, other)
    if as_json:
        show_json(rows)
        return
    show_table(rows, empty="no difference")


def _content(connection: Connection, release_id: int | None) -> Mapping[str, Any]:
    found = (
        active_release(connection) if release_id is None else release_by_id(connection, release_id)
    )
    if found is None and release_id is not None:
        raise ConfigurationError(
            f"there is no release {release_id}: `rag-assets release status` lists them"
        )
    content: Mapping[str, Any] = found.manifest["content"] if found else {}
    return content


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, object]]:
    """One row per field that differs."""
    before, after = _flat(one), _flat(other)
    return [
        {"what": name, "before": before.get(name), "after": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _flat(content: Mapping[str, Any]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for space in content.get("spaces", ()):
        name = f"{space['corpus']} {space['role']}"
        flat[f"{name}: space"] = space["space"]
        codes = space.get("codes") or {}  # manifests from before the codes have none
        flat[f"{name}: index generation"] = space["generation"] or (
            f"none: code set {codes['code_set']}" if codes else "exact search"
        )
        flat[f"{name}: candidates"] = codes.get("candidates")
        flat[f"{name}: probes"] = (space["probes"] or {}).get("plain")
    for code, version in content.get("versions", {}).items():
        flat[f"{code}: rows"] = version["rows"]
        flat[f"{code}: revision of the data"] = version["revisions"].get("small")
    return flat


def _describe(found: Release) -> dict[str, object]:
    small, documents = found.space("bible", "small"), found.space("documents", "small")
    spaces = found.manifest["content"]["spaces"]
    return {
        "release": found.release_id,
        "active since": found.activated_at,
        "versions": ", ".join(found.versions),
        "spaces": "; ".join(dict.fromkeys(f"{one['role']}: {one['space']}" for one in spaces)),
        "searched": small.searched if small else "exactly",
        "probes": small.probes.plain if small and small.probes else None,
        **({"documents searched": documents.searched} if documents else {}),
        "rollback to": found.previous_id,
    }


def _row(found: Release) -> dict[str, object]:
    small = found.space("bible", "small")
    return {
        "release": found.release_id,
        "state": found.state,
        "versions": len(found.versions),
        "generation": small.generation if small else None,
        "reasons": len(found.reasons),
        "created": found.created_at,
        "activated": found.activated_at,
        "ended": found.ended_at,
    }


def _verdict(verdict: GateVerdict) -> dict[str, object]:
    return {
        "unchanged": verdict.unchanged,
        "versions": verdict.versions,
        "documents": verdict.documents,
        "corpora": verdict.corpora,
        "left_out": verdict.left_out,
        "reasons": verdict.reasons,
        "content": verdict.content,
    }


def _show_fixes(fixes: Sequence[FixGroup]) -> None:
    """Print each fix, what it does, and the reasons that it removes."""
    for fix in fixes:
        out.print(indented(f"[bold]{plain(fix.title)}[/bold]", 2))
        out.print(indented(f"[dim]{plain(fix.effect)}[/dim]", 4))
        for reason in fix.reasons:
            out.print(indented(f"[red]{plain(reason)}[/red]", 4))


def _show_verdict(verdict: GateVerdict, fixes: Sequence[FixGroup]) -> None:
    if verdict.passed:
        same = ", which the active release already serves" if verdict.unchanged else ""
        served = [*verdict.versions, *verdict.corpora]
        out.print(f"[bold green]pass[/bold green]: {', '.join(served)}{same}")
    else:
        reasons, actions = count(len(verdict.reasons), "reason"), count(len(fixes), "command")
        out.print(f"[bold red]refused[/bold red]: {reasons}, {actions}")
        _show_fixes(fixes)
    for code, why in verdict.left_out.items():
        out.print(f"[dim]left out: {code}: {plain(why)}[/dim]")


def _show_switch(now: Release, before: Release | None, *, as_json: bool) -> None:
    if as_json:
        show_json({"active": now, "before": before.release_id if before else None})
        return
    if before is not None and before.release_id == now.release_id:
        out.print(f"release {now.release_id} already serves this")
        return
    err.print(f"before: release {before.release_id}" if before else "before: nothing")
    show_record(_describe(now))
