"""``rag-assets doctor``: on one screen, what works, what does not, and what mends it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import Annotated

import typer

from rag_assets.cli.options import SECONDS
from rag_assets.cli.output import Json, errors_as_sentences, out, plain, show_json, show_table
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.doctor import CorpusFacts, Finding, IndexFacts, Level, diagnose, span
from rag_assets.operations.facts import gather_facts
from rag_assets.settings.model import Settings, load_settings

_COLOURS: Mapping[Level, str] = {"problem": "red", "warning": "yellow", "information": "cyan"}
_TOLD = 100
"""Characters of a fault in the table; the whole of it stands below."""


def doctor(
    watch: Annotated[
        float | None,
        typer.Option(**SECONDS, help="Look again after so many seconds, until Ctrl-C."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at everything that work depends on; exits with 1 when something must be done.

    Dependencies with their latency, the lanes, speed of the last ten minutes, keys by fingerprint,
    index, release, incident: and for whatever is wrong, the command that mends it.
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        while True:
            well = _look(settings, as_json=as_json, clear=watch is not None)
            if watch is None:
                raise typer.Exit(0 if well else 1)
            time.sleep(watch)


def _look(settings: Settings, *, as_json: bool, clear: bool) -> bool:
    """One look; whether there is no problem."""
    facts = gather_facts(settings)
    findings = diagnose(facts, settings)
    well = all(finding.level != "problem" for finding in findings)
    if as_json:
        shown = dataclasses.asdict(facts)
        show_json({"ok": well, "findings": findings, **shown})
        return well
    if clear:
        out.clear()
    _show_probes(facts.probes)
    if facts.stored is not None:
        _show_stored(facts.stored, settings)
    _show_findings(findings)
    return well


def _show_probes(probes: Sequence[DependencyProbe]) -> None:
    show_table(
        [
            {
                "dependency": probe.name,
                "": "ok" if probe.ok else "FAILS",
                "ms": round(probe.seconds * 1000),
                "found": probe.told if probe.ok else shorten(probe.told, _TOLD, placeholder=" …"),
            }
            for probe in probes
        ],
        empty="",
    )


def _show_stored(stored: CorpusFacts, settings: Settings) -> None:
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
                "done in 10 min": lane.succeeded,
                "failed": lane.failed,
                "mean": "-" if lane.mean_s is None else f"{lane.mean_s:.1f} s",
                "paused": lane.paused is not None,
            }
            for lane in stored.lanes
        ],
        empty="",
    )
    out.print()
    for name, told in _lines(stored, settings):
        out.print(f"[bold]{name:<8}[/bold]  {plain(told)}")


def _lines(stored: CorpusFacts, settings: Settings) -> Iterator[tuple[str, str]]:
    for document in stored.heavy:
        yield (
            "large",
            f"{document.key} {document.mb:.0f} MB, {document.state} for {span(document.seconds)}",
        )
    if settings.rag_embedding_provider == "offline":
        yield "keys", "none needed: the provider is offline"
    for key in stored.keys:
        resting = f"rests for {span(key.resting_s)}" if key.resting_s else "ready"
        quota = "" if key.out_of_quota_s is None else (
            f", out of quota {span(key.out_of_quota_s)} ago"
        )  # fmt: skip
        yield "key", f"{key.key_fingerprint} {resting}{quota}"
    if stored.share < 1:
        yield "share", f"{stored.share:.0%} of batch size and concurrency"
    for index in stored.indexes:
        yield "index", f"{index.table}: {_made(index)}"
    if stored.builds:
        yield "building", str(stored.builds)
    release = stored.release
    yield (
        "release",
        "none"
        if release.release_id is None
        else f"{release.release_id}, since {release.activated_at:%Y-%m-%d %H:%M} UTC",
    )
    if stored.incident is not None:
        incident = stored.incident
        yield "incident", f"{incident.name} {incident.state}: {incident.cause} {incident.subject}"


def _made(index: IndexFacts) -> str:
    if index.generation is not None:
        return f"generation {index.generation}, lists {index.lists}, {index.changed:.1%} changed"
    if index.code_set is not None:
        return f"none: a scan of code set {index.code_set}"
    return "none: exact search"


def _show_findings(findings: Sequence[Finding]) -> None:
    out.print()
    if all(finding.level == "information" for finding in findings):
        out.print("[bold green]all is well[/bold green]")
    for finding in findings:
        colour = _COLOURS[finding.level]
        out.print(
            f"[bold {colour}]{finding.level}[/bold {colour}]  {finding.area}: "
            f"{plain(finding.told)}",
            f"         {plain(finding.command)}",
            sep="\n",
        )
