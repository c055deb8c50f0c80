"""Whether the queue moves: what is remembered from look to look, and the symptoms. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from rag_assets.lanes import LARGE
from rag_assets.operations.causes import (
    UNKNOWN,
    WORKER_LOST,
    Trouble,
    limits_the_rate,
    signs_of_outage,
)
from rag_assets.operations.health import Health, LaneHealth
from rag_assets.operations.memory import Memory
from rag_assets.operations.rules import INTERVAL, Rules


def remember(health: Health, memory: Memory) -> Memory:
    """The memory with this look in it: since when each thing is as it is."""
    now = health.now
    gap = memory.looked_at is not None and now - memory.looked_at > 3 * INTERVAL
    # After a pause of everything a new server is no news, unless work shows that it was missed.
    restarted = memory.server_started_at not in (None, health.server.started_at) and (
        not gap or bool(signs_of_outage(health))
    )
    gone = memory.away_since or (memory.looked_at if restarted else None)
    failing = {
        probe.name: memory.failing_since.get(probe.name, now)
        for probe in health.probes
        if not probe.ok
    }
    if memory.away_since is not None:
        failing["database"] = memory.away_since
    return replace(
        memory,
        looked_at=now,
        watching_since=now if gap else memory.watching_since or now,
        gap_since=memory.looked_at if gap and memory.away_since is None else None,
        server_started_at=health.server.started_at,
        away_since=None,
        told_away_at=memory.told_away_at if memory.away_since is not None else None,
        called_away_at=None,
        database_gone_at=gone or memory.database_gone_at,
        database_back_at=now if gone else memory.database_back_at,
        idle_since={
            lane.lane: memory.idle_since.get(lane.lane, now)
            for lane in health.lanes
            if lane.documents.claimable and not lane.documents.running and lane.paused is None
        },
        unseen_since={run: memory.unseen_since.get(run, now) for run in health.unseen_runs},
        limited_since=(memory.limited_since or now) if limits_the_rate(health, memory) else None,
        limited_at=now if health.rate_limited else memory.limited_at,
        answered_at=now if health.answered else memory.answered_at,
        failing_since=failing,
    )


def away(memory: Memory, now: datetime) -> Memory:
    """The memory after a look for which the database was not there."""
    return replace(memory, looked_at=now, away_since=memory.away_since or now)


def symptoms(health: Health, memory: Memory, rules: Rules) -> tuple[Trouble, ...]:
    """What is seen to go wrong, whatever the cause.

    :param memory: with this look in it.
    """
    return (
        *_stagnation(health, memory, rules),
        *_no_workers(health, memory, rules),
        *_vanished(health, memory, rules),
    )


def idle_lanes(health: Health, memory: Memory, rules: Rules) -> tuple[LaneHealth, ...]:
    """Lanes with documents that could be taken, and for long nobody who takes them.

    Not while all that may be worked on at once is: a living run waits for its turn then.
    """
    if health.active >= rules.most_active:
        return ()
    return tuple(
        lane
        for lane in health.lanes
        if lane.lane in memory.idle_since
        and health.now - memory.idle_since[lane.lane] >= rules.no_worker
    )


def vanished_runs(health: Health, memory: Memory, rules: Rules) -> tuple[tuple[str, str], ...]:
    """Runs, with their lane, of which no look has seen anything for as long as stagnation takes.

    Whatever a run does, it is at the database again and again.
    """
    return tuple(
        (run, lane)
        for run, lane in health.unseen_runs.items()
        if health.now - memory.unseen_since[run] >= rules.stagnation
    )


def moves(health: Health, troubles: tuple[Trouble, ...], rules: Rules) -> bool:
    """Whether work goes on in each lane: nothing can be taken, or documents get done."""
    if any(trouble.opens for trouble in troubles):
        return False
    if any(lane.paused is not None and not lane.held_by_person for lane in health.lanes):
        return False
    return all(_goes_on(lane, health, rules) for lane in health.wanted if lane.documents.claimable)


def _goes_on(lane: LaneHealth, health: Health, rules: Rules) -> bool:
    if not lane.documents.running and health.active < rules.most_active:
        return False
    # One large document may take longer than that; when too long, it is a trouble of its own.
    last = lane.last_completed_at
    return lane.lane == LARGE or (last is not None and health.now - last <= rules.check)


def _stagnation(health: Health, memory: Memory, rules: Rules) -> Iterator[Trouble]:
    waiting = sum(lane.documents.waiting for lane in health.wanted)
    oldest_s = max((lane.documents.oldest_waiting_s for lane in health.wanted), default=0.0)
    last, watching = health.last_completed_at, memory.watching_since or health.now
    if (
        waiting > rules.stagnation_queue
        and oldest_s >= rules.stagnation.total_seconds()
        and health.now - watching >= rules.stagnation
        and (last is None or health.now - last >= rules.stagnation)
    ):
        yield Trouble(
            UNKNOWN,
            "queue",
            f"{waiting} documents wait, and none was completed for "
            f"{rules.stagnation.total_seconds():.0f} s",
            last or health.now - rules.stagnation,
            figures_change=True,
        )


def _no_workers(health: Health, memory: Memory, rules: Rules) -> Iterator[Trouble]:
    for lane in idle_lanes(health, memory, rules):
        since = memory.idle_since[lane.lane]
        yield Trouble(
            UNKNOWN,
            lane.lane,
            f"{lane.documents.claimable} documents of {lane.lane} could be taken, and for "
            f"{(health.now - since).total_seconds():.0f} s nobody took them, with {lane.runs} runs "
            "under way",
            since,
            figures_change=True,
        )


def _vanished(health: Health, memory: Memory, rules: Rules) -> Iterator[Trouble]:
    for run, lane in vanished_runs(health, memory, rules):
        yield Trouble(
            WORKER_LOST,
            run,
            f"run {run} counts as started in {lane}, and nothing was seen of it",
            memory.unseen_since[run],
        )
