"""Rules that the recovery acts on: dependencies, paused lanes, the provider's limits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from rag_assets.lanes import DOCUMENT_LANES, LANES, Lane
from rag_assets.operations.findings import (
    BOUND,
    DEPENDENCY_DOWN,
    OUT_OF_QUOTA,
    RATE_LIMITED,
    RUNBOOK,
    Finding,
    PlannedAction,
    View,
    rule,
    span,
)
from rag_assets.operations.memory import signs_of_outage
from rag_assets.operations.snapshot import Snapshot
from rag_assets.operations.thresholds import INTERVAL

NEEDS: Mapping[str, Sequence[Lane]] = {
    "vectors": LANES,
    "provider": LANES,
    "inbox": DOCUMENT_LANES,
    "broker": LANES,
}
"""Lanes that a dependency is needed for. Without the database nothing starts anyway, and without
workers runs wait.
"""
_DEPENDS_ON = {
    "vectors": ("database",),
    "dagster": ("database",),
    "daemon": ("database", "dagster"),
    "workers": ("broker",),
}
"""While one of these is down, nothing is known about the dependency that needs it."""
_QUOTA_S = 86_400
"""A key refused for lack of quota longer ago than this may have been topped up."""
_QUIET = timedelta(minutes=1)
_RAISE = 0.1


@rule(
    condition="A dependency does not answer. At two checks in a row it is an incident. Not "
    "reported for what depends on another one that is down.",
    evidence="the error of the probe",
    fix="start it, or correct its setting; the error says which",
    action=f"`pause_lane` for the lanes that need it, {BOUND}",
)
def dependency_down(view: View) -> Iterator[Finding]:
    seen, since = view.snapshot, view.memory.failing_since
    down = {probe.name for probe in seen.probes if not probe.ok}
    waiting = any(lane.claimable for lane in seen.lanes)
    for probe in seen.probes:
        if probe.ok:
            continue
        began = since.get(probe.name, seen.now)
        # Working from the command line alone needs no daemon.
        idle = probe.name in ("daemon", "dagster") and not (seen.daemon_was_seen or waiting)
        fact = f"{probe.name}: {probe.detail}"
        lasts = began < seen.now
        yield Finding(
            probe.name,
            "warning" if idle else "problem",
            probe.detail,
            probe.remedy,
            began,
            tuple(
                PlannedAction("pause_lane", lane, fact)
                for lane in NEEDS.get(probe.name, ())
                if lasts and lane not in seen.paused
            ),
            cause=DEPENDENCY_DOWN,
            subject=probe.name,
            fact=fact,
            opens=lasts,
            follows=bool(down.intersection(_DEPENDS_ON.get(probe.name, ()))),
        )


@rule(
    condition="The database was unreachable at one or more checks, and is back. A restart of "
    "PostgreSQL counts if attempts or leases were lost.",
    evidence="from when to when, and what was lost",
    fix="PostgreSQL's log says why it stopped",
    over_time=True,
)
def database_was_away(view: View) -> Iterator[Finding]:
    seen, memory = view.snapshot, view.memory
    missed = memory.failing_since.get("database")
    if missed is not None:
        yield Finding(
            "database",
            "warning",
            f"the database has been unreachable since {missed:%H:%M:%S}",
            RUNBOOK,
            missed,
            cause=DEPENDENCY_DOWN,
            subject="database",
            opens=memory.outage_reported_at is not None or seen.now - missed > 1.5 * INTERVAL,
        )
    gone, back = memory.database_gone_at, memory.database_back_at
    if gone is None or back is None or seen.now - back > view.thresholds.check:
        return
    signs = signs_of_outage(seen)
    cost = f": {', '.join(signs)}" if signs else ""
    kinds = [name for name in signs if name in seen.failures] + ["left"] * bool(seen.leases_over)
    yield Finding(
        "database",
        "warning",
        f"PostgreSQL was down between {gone:%H:%M:%S} and {back:%H:%M:%S}{cost}",
        RUNBOOK,
        gone,
        cause=DEPENDENCY_DOWN,
        subject="database",
        opens=bool(signs),
        key=f"{gone:%H:%M:%S} {' '.join(kinds)}",
    )


@rule(
    condition="A lane is paused, by an operator or by the recovery.",
    evidence="by whom, and why",
    fix="`rag-assets documents resume LANE`; the recovery resumes what it has paused",
    action="`resume_lane`, if it paused the lane, at the first check that finds its dependencies "
    "back",
)
def lane_paused(view: View) -> Iterator[Finding]:
    down = {lane for name in view.memory.failing_since for lane in NEEDS.get(name, ())}
    for lane, pause in view.snapshot.paused.items():
        ours = pause.paused_by == "recovery"
        back = ours and lane not in down
        yield Finding(
            lane,
            "warning",
            f"paused {pause.description}",
            "wait: the lane resumes when its dependencies are back"
            if ours
            else f"`rag-assets documents resume {lane}`",
            pause.paused_at,
            (PlannedAction("resume_lane", lane, "its dependencies are back"),) if back else (),
        )


@rule(
    condition="Keys ran out of quota within the last day. An incident if every key did within "
    "`RAG_STAGNATION_S`, work is waiting, and nothing was completed since.",
    evidence="the keys, by fingerprint",
    fix="raise the quota, or remove the key from `OPENAI_API_KEYS`",
)
def out_of_quota(view: View) -> Iterator[Finding]:
    seen, lately_s = view.snapshot, view.thresholds.stagnation.total_seconds()
    refused = {
        key.key_fingerprint: key.out_of_quota_s
        for key in seen.keys
        if key.out_of_quota_s is not None and key.out_of_quota_s < _QUOTA_S
    }
    if not refused:
        return
    last = seen.last_completed_at
    every = len(refused) == len(seen.keys)
    fresh = max(refused.values()) < lately_s
    working = last is not None and (seen.now - last).total_seconds() < min(refused.values())
    yield Finding(
        "provider",
        "problem" if every else "warning",
        f"out of quota: {_keys(refused)}",
        "raise the quota, or remove the key from OPENAI_API_KEYS",
        last or seen.now - INTERVAL,
        cause=OUT_OF_QUOTA if min(refused.values()) < lately_s else "",
        subject=", ".join(sorted(refused)),
        opens=every and fresh and not working and _work(seen),
    )


@rule(
    condition="The provider limits the rate. An incident if it answered nothing for "
    "`RAG_NO_WORKER_S` while work is waiting.",
    evidence="the keys that got a 429 since the last check, or are cooling down",
    fix="wait, or lower `RAG_EMBEDDING_RATE_LIMIT` to what the provider allows",
    action="`lower_share` at each check with a 429: halves batch size and concurrency, down to "
    "`RAG_THROTTLE_FLOOR`",
)
def rate_limited(view: View) -> Iterator[Finding]:
    seen, memory = view.snapshot, view.memory
    since = memory.limited_since
    if since is None:
        return
    resting = [key for key in seen.keys if key.resting_s > 0]
    met = sorted(seen.rate_limited) or sorted(key.key_fingerprint for key in resting)
    unanswered_since = max(since, memory.answered_at or since)
    limited = sum(seen.rate_limited.values())
    wait = f"wait {span(max(key.resting_s for key in resting))}" if resting else "wait"
    floor = view.thresholds.throttle_floor
    yield Finding(
        "provider",
        "warning",
        f"the provider limits the rate of {_keys(met)}",
        f"{wait}, or lower RAG_EMBEDDING_RATE_LIMIT to what the provider allows",
        since,
        tuple(
            _share("lower_share", one.endpoint, lower, f"{limited} answers of 429")
            for one in seen.shares
            if limited and one.share > floor
            for lower in (max(floor, round(one.share / 2, 3)),)
        ),
        cause=RATE_LIMITED,
        subject=", ".join(met),
        opens=seen.now - unanswered_since >= view.thresholds.no_worker and _work(seen),
    )


@rule(
    condition="Batch size and concurrency are reduced after 429s.",
    evidence="the share in use",
    fix="wait: it rises automatically",
    action="`raise_share` by a tenth after each minute without a 429",
)
def share_lowered(view: View) -> Iterator[Finding]:
    seen = view.snapshot
    limited = sum(seen.rate_limited.values())
    for one in seen.shares:
        if one.share >= 1:
            continue
        quiet = not limited and _quiet(view.memory.limited_at, one.set_at, now=seen.now)
        higher = min(1.0, round(one.share + _RAISE, 3))
        raised = _share("raise_share", one.endpoint, higher, "no 429 for a minute")
        yield Finding(
            "provider",
            "warning",
            f"batch size and concurrency are at {one.share:.0%} after limited rates",
            "wait: they rise automatically after each minute without a 429",
            one.set_at or seen.now,
            (raised,) if quiet else (),
        )


@rule(
    condition="A name in the environment or `.env` begins like a setting's and is none.",
    evidence="the name, where it stands, and the nearest setting",
    fix="correct or remove it; docs/settings.md lists all settings",
)
def setting_unknown(view: View) -> Iterator[Finding]:
    for sentence in view.snapshot.unknown_names:
        fix = "correct or remove it; docs/settings.md lists all settings"
        yield Finding("settings", "warning", sentence, fix, view.snapshot.now)


DEPENDENCY_RULES = (
    dependency_down,
    database_was_away,
    lane_paused,
    out_of_quota,
    rate_limited,
    share_lowered,
    setting_unknown,
)


def _share(
    kind: Literal["lower_share", "raise_share"], endpoint: str, share: float, why: str
) -> PlannedAction:
    reason = f"{why}; {share:.0%} of batch size and concurrency from now on"
    return PlannedAction(kind, endpoint, reason, share=share)


def _quiet(*times: datetime | None, now: datetime) -> bool:
    return all(time is None or now - time >= _QUIET for time in times)


def _work(seen: Snapshot) -> bool:
    return any(lane.claimable or lane.running for lane in seen.wanted)


def _keys(fingerprints: Iterable[str]) -> str:
    return " and ".join(f"key {name}" for name in sorted(fingerprints))
