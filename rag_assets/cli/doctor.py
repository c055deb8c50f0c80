"""``rag-assets doctor``: on one screen, what works, what does not, and how to fix it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import Annotated

import typer

from rag_assets.cli.opening import ui_address
from rag_assets.cli.options import SECONDS
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    plain,
    show_json,
    show_pairs,
    show_table,
)
from rag_assets.operations.backfill import left_of, runs_url
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.diagnosis import diagnose
from rag_assets.operations.findings import Finding, Level, span
from rag_assets.operations.snapshot import OF_RECOVERY, CorpusState, IndexState, Snapshot
from rag_assets.operations.survey import survey
from rag_assets.operations.windows import backfill_windows, when
from rag_assets.settings.model import Settings, load_settings

_COLOURS: Mapping[Level, str] = {"problem": "red", "warning": "yellow", "information": "cyan"}
_FAULT_LENGTH = 100
"""Characters of a fault in the table; the findings below have all of it."""


def doctor(
    watch: Annotated[
        float | None,
        typer.Option(
            **SECONDS, help="Repeat the check at this interval, in seconds, until Ctrl-C."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check everything that the system depends on. Exits with 1 if something must be fixed.

    It shows dependencies with their latency, the lanes with the last ten minutes, keys by
    fingerprint, index, release and incident, and for each problem the command that fixes it.

    ```
    rag-assets doctor
    rag-assets doctor --watch 30
    ```
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        if address := ui_address(settings):
            settings = settings.model_copy(update={"rag_public_url": address})
        while True:
            well = _check(settings, as_json=as_json, clear=watch is not None)
            if watch is None:
                raise typer.Exit(0 if well else 1)
            time.sleep(watch)


def _check(settings: Settings, *, as_json: bool, clear: bool) -> bool:
    """Check once; whether there is no problem."""
    seen = survey(settings)
    findings = diagnose(seen, settings)
    well = all(finding.level != "problem" for finding in findings)
    if as_json:
        show_json({"ok": well, "findings": list(map(_shown, findings)), **_read_by_doctor(seen)})
        return well
    if clear:
        out.clear()
    _show_probes(seen.probes)
    if seen.corpus is not None:
        _show_stored(seen, seen.corpus, settings)
    _show_findings(findings)
    return well


def _shown(finding: Finding) -> dict[str, str]:
    names = "rule", "area", "level", "command"
    return {name: getattr(finding, name) for name in names} | {"told": finding.evidence}


def _read_by_doctor(seen: Snapshot) -> dict[str, object]:
    """The parts of a snapshot that the doctor fills; the others are empty."""
    found = dataclasses.asdict(seen)
    for probe in found["probes"]:
        probe["told"] = probe.pop("detail")
    return {"at": found.pop("now")} | {
        name: value for name, value in found.items() if name not in OF_RECOVERY
    }


def _show_probes(probes: Sequence[DependencyProbe]) -> None:
    show_table(
        [
            {
                "dependency": probe.name,
                "": "ok" if probe.ok else "FAILS",
                "ms": round(probe.seconds * 1000),
                "found": probe.detail
                if probe.ok
                else shorten(probe.detail, _FAULT_LENGTH, placeholder=" …"),
            }
            for probe in probes
        ],
        empty="",
    )


def _show_stored(seen: Snapshot, corpus: CorpusState, settings: Settings) -> None:
    out.print()
    show_table(
        [
            {
                "lane": lane.lane,
                "waiting": lane.waiting,
                "oldest": span(lane.oldest_waiting_s) if lane.waiting else "-",
                "active": lane.running,
                "runs": lane.runs_at_work,
                "queued": lane.runs_queued,
                "dead": lane.dead,
                "done": lane.succeeded,
                "failed": lane.failed,
                "mean": "-" if lane.mean_s is None else _seconds(lane.mean_s),
            }
            for lane in seen.lanes
        ],
        empty="",
    )
    out.print("[dim]done, failed and mean are of the last 10 minutes[/dim]")
    out.print()
    show_pairs(
        (f"[bold]{name}[/bold]", plain(text)) for name, text in _lines(seen, corpus, settings)
    )


def _seconds(mean: float) -> str:
    """In four characters, so that the table fits into 80 columns."""
    return f"{mean:.1f}s" if mean < 9.95 else f"{mean:.0f}s"


def _lines(seen: Snapshot, corpus: CorpusState, settings: Settings) -> Iterator[tuple[str, str]]:
    for document in corpus.heavy:
        yield (
            "large",
            f"{document.key}, {document.mb:.0f} MB, {document.state} for {span(document.seconds)}",
        )
    if not settings.needs_key():
        unused = "; OPENAI_API_KEY is not used" if settings.openai_api_key else ""
        yield "keys", f"none needed: the provider is {settings.rag_embedding_provider}{unused}"
    for role, profile in corpus.providers.items():
        yield "provider", f"{role}: {profile}"
    for key in seen.keys:
        resting = f"rests for {span(key.resting_s)}" if key.resting_s else "ready"
        quota = "" if key.out_of_quota_s is None else (
            f", out of quota {span(key.out_of_quota_s)} ago"
        )  # fmt: skip
        yield "key", f"{key.key_fingerprint} {resting}{quota}"
    for one in seen.shares:
        if one.share < 1:
            yield "share", f"{one.share:.0%} of batch size and concurrency"
    for index in corpus.indexes:
        yield "index", f"{index.table}: {_made(index)}"
    if corpus.builds:
        yield "building", str(corpus.builds)
    release = corpus.release
    yield (
        "release",
        "none"
        if release.release_id is None
        else f"{release.release_id}, since {release.activated_at:%Y-%m-%d %H:%M} UTC",
    )
    if (window := corpus.window) is not None:
        zone = backfill_windows(settings).zone
        yield "backfill", f"open until {when(window.closes, seen.now, zone)}: {left_of(window)}"
        yield "", runs_url(settings.rag_public_url, window.key)
    if corpus.incident is not None:
        incident = corpus.incident
        yield "incident", f"{incident.name} {incident.state}: {incident.cause} {incident.subject}"


def _made(index: IndexState) -> str:
    if index.generation is not None:
        return f"generation {index.generation}, lists {index.lists}, {index.changed:.1%} changed"
    if index.code_set is not None:
        return f"none: a scan of code set {index.code_set}"
    return "none: exact search"


def _show_findings(findings: Sequence[Finding]) -> None:
    out.print()
    if all(finding.level == "information" for finding in findings):
        out.print("[bold green]all is well[/bold green]")
    shown = list[tuple[str, str]]()
    for finding in findings:
        style = f"bold {_COLOURS[finding.level]}"
        shown.append(
            (f"[{style}]{finding.level}[/{style}]", plain(f"{finding.area}: {finding.evidence}"))
        )
        shown.append(("", plain(finding.command)))
    show_pairs(shown)
