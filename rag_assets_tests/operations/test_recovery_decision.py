"""From a snapshot to a decision: each trouble, its cause, its actions, and their limits."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rag_assets.documents.sql.lanes import KeyState, Pause, Share
from rag_assets.operations.incidents import lasts
from rag_assets.operations.memory import Memory, remember_outage
from rag_assets.operations.snapshot import LaneState
from rag_assets.operations.sql.dagster_state import EndedRun, ProcessFault
from rag_assets.operations.sql.queue_health import AtWork
from rag_assets.operations.thresholds import INTERVAL, Thresholds, keys_in_use
from rag_assets.settings.model import Settings, fingerprint
from rag_assets_tests.operations.watch import LANE, LARGE, START, Watch, probe

KEY = "aabbccdd"
ENDPOINT = "https://provider"
MINUTE = timedelta(minutes=1)


SIGKILL = ProcessFault("killed by signal 9 (SIGKILL)", 9)
EXITED = ProcessFault("exited with code 1")


def killed(run_id: str = "run-1", fault: ProcessFault = SIGKILL) -> EndedRun:
    return EndedRun(run_id, "document_processing", LANE, "FAILURE", START, START, fault)


def test_an_idle_or_busy_queue_needs_no_action() -> None:
    watch = Watch()
    for _ in range(60):
        assert watch.check().actions == ()
        busy = watch.check(waiting=900, active=8, completed=True)
        assert (busy.actions, busy.step, busy.reasons) == ((), None, ())


def test_documents_that_have_just_arrived_are_no_stagnation() -> None:
    watch = Watch()
    assert watch.check(waiting=5000, claimable=5000, active=0).step is None
    assert watch.check(waiting=5000, active=8, completed=False).step is None


def test_without_a_broker_every_lane_is_paused_and_without_workers_none() -> None:
    watch = Watch()
    for _ in range(2):
        decision = watch.check(probes=(probe("broker", ok=False), probe("workers", ok=False)))
    assert {(one.kind, one.subject) for one in decision.actions} == {
        ("pause_lane", lane) for lane in (LANE, LARGE, "rag_bible")
    }
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("dependency-down", "broker")
    watch = Watch()
    for _ in range(2):
        decision = watch.check(probes=(probe("workers", ok=False),))
    assert decision.actions == ()
    assert watch.incident is not None
    assert watch.incident.subject == "workers"


# Nobody at work


def test_without_a_worker_for_a_minute_a_run_is_started_and_an_incident_opened() -> None:
    watch = Watch()
    assert [watch.check(waiting=3).actions for _ in range(2)] == [(), ()]
    decision = watch.check(waiting=3)
    assert [(one.kind, one.subject) for one in decision.actions] == [("start_run", LANE)]
    assert watch.states == ["open"]
    assert watch.incident is not None
    assert watch.incident.cause == "unknown"
    assert (
        "3 documents could be claimed in rag_processing, but none was for 60 s"
        in decision.reasons[0]
    )


def test_no_run_is_started_where_one_is_under_way() -> None:
    watch = Watch()
    assert [watch.kinds(watch.check(waiting=3, runs=1)) for _ in range(4)] == [[], [], [], []]
    assert watch.states == ["open"]


def test_a_lane_paused_by_an_operator_is_no_trouble() -> None:
    watch = Watch(paused={LANE: Pause(LANE, "by command", "command", START)})
    for _ in range(60):
        decision = watch.check(waiting=900)
        assert (decision.actions, decision.step) == ((), None)


def test_a_lane_that_waits_for_its_turn_among_all_documents_is_no_trouble() -> None:
    busy = LaneState(LANE, waiting=500, claimable=500, running=50, runs_at_work=2)
    behind = LaneState(LARGE, waiting=2, claimable=2, runs_at_work=1)
    watch = Watch()
    for _ in range(10):
        watch.completed_at = watch.now
        decision = watch.check(lanes=(replace(busy, last_completed_at=watch.now), behind))
        assert (decision.actions, decision.step) == ((), None)


def test_stagnation_opens_an_incident_although_documents_are_running() -> None:
    watch = Watch()
    watch.check(waiting=51, active=8, completed=True)
    seen = [watch.check(waiting=51, active=8).step for _ in range(21)]
    assert [place for place, step in enumerate(seen) if step] == [19]
    assert watch.incident is not None
    assert watch.incident.facts == ("51 documents waiting, and none was completed for 600 s",)
    assert watch.incident.began_at == START + INTERVAL - timedelta(seconds=1)


def test_a_queue_at_the_threshold_is_no_stagnation() -> None:
    watch = Watch()
    assert all(watch.check(waiting=50, active=8).step is None for _ in range(60))


# What died


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (SIGKILL, "worker-out-of-memory"),
        (ProcessFault("killed by signal 11 (SIGSEGV)", 11), "worker-lost"),
        (EXITED, "worker-lost"),
    ],
)
def test_a_run_whose_process_died_is_an_incident_with_its_cause(
    fault: ProcessFault, cause: str
) -> None:
    watch = Watch()
    watch.check(waiting=3, active=8, completed=True)
    watch.check(waiting=3, active=8, completed=True, faults=(killed(fault=fault),))
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == (cause, "run-1")
    assert fault.description in watch.incident.facts[0]


def test_silent_runs_are_ended_and_lost_documents_collected() -> None:
    watch = Watch()
    decision = watch.check(waiting=3, runs=2, silent_runs={LANE: ("run-1", "run-2")}, leases_over=2)
    assert [(one.kind, one.target) for one in decision.actions] == [
        ("end_run", "run-1"),
        ("end_run", "run-2"),
        ("collect_lost", ""),
    ]
    assert watch.incident is not None
    assert watch.incident.cause == "worker-lost"


def test_a_run_without_sessions_for_ten_minutes_is_ended() -> None:
    watch, unseen = Watch(), {"run-1": "rag_bible"}
    watch.check()
    for _ in range(20):
        assert watch.check(unseen_runs=unseen).actions == ()
    assert watch.check().actions == (), "it was seen: it lives"
    for _ in range(20):
        assert watch.check(unseen_runs=unseen).actions == ()
    decision = watch.check(unseen_runs=unseen)
    assert [(one.kind, one.subject, one.target) for one in decision.actions] == [
        ("end_run", "rag_bible", "run-1")
    ]
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("worker-lost", "run-1")


# The database


def test_a_database_missed_at_two_checks_is_the_cause() -> None:
    watch = Watch()
    watch.check(waiting=30, active=8, completed=True)
    gone = watch.now + INTERVAL
    for _ in range(2):
        watch.now += INTERVAL
        watch.memory = remember_outage(watch.memory, watch.now)
    watch.check(waiting=38)
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("dependency-down", "database")
    assert watch.incident.began_at == gone
    watch.check(waiting=30, active=8, completed=True)
    assert watch.states == ["open", "recovering"]


def test_a_database_missed_at_one_check_is_no_incident() -> None:
    watch = Watch()
    watch.check(waiting=30, active=8, completed=True)
    watch.now += INTERVAL
    watch.memory = remember_outage(watch.memory, watch.now)
    assert watch.check(waiting=30, active=8, completed=True).step is None
    watch.server_started_at = watch.now
    assert watch.check(waiting=30, active=8, completed=True).step is None


@pytest.mark.parametrize(
    "sign", [{"failures": {"DatabaseUnavailableError": 4}}, {"leases_over": 3}]
)
def test_a_restart_that_cost_attempts_is_attributed_to_the_database(
    sign: dict[str, object],
) -> None:
    watch = Watch()
    watch.check(waiting=30, active=8, completed=True)
    watch.server_started_at = watch.now + timedelta(seconds=20)
    watch.check(waiting=38, faults=(killed(fault=EXITED),), **sign)
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("dependency-down", "database")
    assert watch.incident.began_at <= START + INTERVAL


def test_a_restart_explains_failures_right_after_it() -> None:
    watch = Watch()
    watch.check(waiting=30, active=8, completed=True)
    watch.server_started_at = watch.now + timedelta(seconds=20)
    assert watch.check(waiting=38).step is None
    watch.check(waiting=38, faults=(killed(fault=EXITED),))
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("dependency-down", "database")


def test_a_daemon_outage_while_documents_waited_is_reported() -> None:
    watch = Watch()
    watch.check()
    watch.check(waiting=30, after=timedelta(hours=3))
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.began_at) == ("daemon-away", START + INTERVAL)
    idle = Watch()
    idle.check()
    assert idle.check(after=timedelta(hours=3)).step is None


def test_a_pause_of_the_whole_system_is_not_attributed_to_the_database() -> None:
    watch = Watch()
    watch.check(waiting=30)
    watch.server_started_at = watch.now + timedelta(hours=3)
    watch.check(waiting=30, after=timedelta(hours=3))
    watch.check(waiting=30, active=2)
    assert watch.incident is not None
    assert watch.incident.cause == "daemon-away"


# Dependencies and the provider


def test_a_dependency_that_fails_twice_pauses_its_lanes_and_resumes_them_when_it_is_back() -> None:
    watch, down = Watch(), (probe("vectors"), probe("provider", False, "no answer within 5 s"))
    watch.check(waiting=9, active=2, completed=True)
    assert watch.check(waiting=9, active=2, probes=down).actions == ()
    assert watch.states == []
    paused = watch.check(waiting=9, active=2, probes=down)
    assert {(one.kind, one.subject) for one in paused.actions} == {
        ("pause_lane", lane) for lane in (LANE, LARGE, "rag_bible")
    }
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("dependency-down", "provider")
    assert watch.incident.facts[0] == "provider: no answer within 5 s"
    assert watch.check(waiting=9, probes=down).actions == ()
    back = watch.check(waiting=9, probes=(probe("vectors"), probe("provider")))
    assert [one.kind for one in back.actions] == ["resume_lane"] * 3
    assert watch.paused == {}


def test_an_inbox_outage_does_not_pause_the_bible_lane() -> None:
    watch, down = Watch(), (probe("inbox", False),)
    watch.check(probes=down)
    assert {one.subject for one in watch.check(probes=down).actions} == {LANE, LARGE}


def test_lanes_paused_by_an_operator_are_neither_paused_nor_resumed() -> None:
    mine = {"rag_bible": Pause("rag_bible", "by command", "command", START)}
    watch, down = Watch(paused=mine), (probe("provider", False),)
    watch.check(probes=down)
    assert {one.subject for one in watch.check(probes=down).actions} == {LANE, LARGE}
    assert {one.subject for one in watch.check(probes=(probe("provider"),)).actions} == {
        LANE,
        LARGE,
    }
    assert watch.paused == mine


def test_a_share_is_halved_at_each_check_with_a_429_and_raised_by_tenths() -> None:
    watch, share, seen = Watch(), Share(ENDPOINT, 1.0, None), []
    for limited in [True] * 5 + [False] * 24:
        decision = watch.check(
            waiting=5,
            active=3,
            completed=True,
            shares=(share,),
            answered=1,
            rate_limited={KEY: 4} if limited else {},
        )
        for action in decision.actions:
            share = Share(ENDPOINT, action.share, watch.now)
        seen.append(share.share)
    assert seen[:5] == [0.5, 0.25, 0.125, 0.1, 0.1]
    assert seen[5:8] == [0.1, 0.2, 0.2], "after a quiet minute, then one step a minute"
    assert seen[-1] == 1.0
    assert watch.states == [], "work went on"


def test_a_rate_limit_that_blocks_the_queue_is_the_cause_with_its_key() -> None:
    watch = Watch()
    watch.check(waiting=9, active=3, completed=True)
    watch.check(waiting=9, active=3, rate_limited={KEY: 4})
    resting = (KeyState(ENDPOINT, KEY, 20.0, None),)
    for _ in range(2):
        watch.check(waiting=9, active=3, keys=resting)
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("rate-limited", KEY)
    assert watch.incident.began_at == START + 2 * INTERVAL


def test_a_rate_limit_with_some_progress_is_no_incident() -> None:
    watch = Watch()
    for _ in range(30):
        watch.check(waiting=9, active=3, rate_limited={KEY: 4}, answered=1)
    assert watch.states == []


def test_keys_that_are_all_out_of_quota_are_the_cause() -> None:
    watch, other = Watch(), KeyState(ENDPOINT, "11223344", 0.0, None)
    one = KeyState(ENDPOINT, KEY, 0.0, 40.0)
    watch.check(waiting=9, active=3, completed=True)
    watch.check(waiting=9, active=0, claimable=0, after=MINUTE, keys=(one, other))
    assert watch.incident is None, "another key goes on"
    watch.check(waiting=9, keys=(one, replace(one, key_fingerprint="11223344")))
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("out-of-quota", f"11223344, {KEY}")


def test_a_slow_document_is_reported_only_if_others_wait_for_it() -> None:
    watch = Watch()
    longest = AtWork(LARGE, "atlas.pdf", "run-1", START)
    alone = LaneState(LARGE, running=1, runs_at_work=1, longest=longest)
    waited_for = replace(alone, waiting=2, claimable=2)
    small = LaneState(LANE)
    assert watch.check(after=10 * MINUTE, lanes=(small, alone)).step is None
    watch.check(lanes=(small, waited_for))
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("slow-document", "atlas.pdf")


def test_the_most_frequent_error_class_is_the_cause_of_last_resort() -> None:
    watch = Watch()
    for _ in range(4):
        watch.check(waiting=9, runs=1, failures={"AuthenticationError": 9, "AuditError": 1})
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("errors", "AuthenticationError")


def test_only_stronger_evidence_replaces_the_cause() -> None:
    watch = Watch()
    for _ in range(3):
        watch.check(waiting=9, runs=1)
    down = (probe("provider", False),)
    for _ in range(2):
        watch.check(waiting=9, runs=1, probes=down)
    assert watch.incident is not None
    assert watch.incident.cause == "dependency-down"
    watch.check(waiting=9, runs=1, probes=down, faults=(killed(),))
    assert watch.incident.cause == "dependency-down"
    assert any("signal 9" in fact for fact in watch.incident.facts)


def test_a_malformed_key_does_not_end_the_check() -> None:
    assert keys_in_use(Settings(openai_api_key="sk no key")) == ()
    assert keys_in_use(Settings(openai_api_key="sk-one")) == (fingerprint("sk-one"),)
    assert Thresholds.from_settings(Settings()) == Thresholds()


# How it goes on


def test_an_incident_is_closed_after_ten_minutes_of_progress() -> None:
    watch = Watch()
    watch.check(waiting=9, active=2, completed=True, faults=(killed(),))
    for _ in range(20):
        watch.check(waiting=9, active=2, completed=True)
    assert watch.states == ["open", "recovering"]
    watch.check()
    assert watch.states == ["open", "recovering", "closed"]


def test_no_progress_within_two_minutes_escalates_once() -> None:
    watch = Watch()
    for _ in range(3):
        watch.check(waiting=9, runs=1)
    noticed = watch.now
    while watch.states[-1] != "escalated":
        watch.check(waiting=9, runs=1)
    assert watch.now - noticed == timedelta(minutes=2)
    for _ in range(100):
        watch.check(waiting=9, runs=1)
    assert watch.states == ["open", "escalated"]
    for _ in range(22):
        watch.check(waiting=9, active=1, completed=True)
    assert watch.states == ["open", "escalated", "recovering", "closed"]


def test_causes_that_the_recovery_cannot_fix_escalate_after_ten_minutes() -> None:
    watch, down = Watch(), (probe("provider", False),)
    for _ in range(2):
        watch.check(waiting=9, probes=down)
    noticed = watch.now
    while watch.states[-1] != "escalated":
        watch.check(waiting=9, probes=down)
    assert watch.now - noticed == timedelta(minutes=10)


def test_after_a_dependency_is_back_work_has_two_minutes_to_resume() -> None:
    watch, down = Watch(), (probe("provider", False),)
    for _ in range(12):
        watch.check(waiting=9, probes=down)
    assert watch.states == ["open"]
    back = watch.now
    while watch.states[-1] != "escalated":
        watch.check(waiting=9, runs=1, probes=(probe("provider"),))
    assert watch.now - back == timedelta(minutes=2)


def test_a_large_document_may_take_longer_than_two_minutes() -> None:
    watch = Watch()
    watch.check(waiting=2, active=1, lane=LARGE, faults=(killed(),))
    for _ in range(22):
        watch.check(waiting=2, active=1, lane=LARGE)
    assert watch.states == ["open", "recovering", "closed"]


def test_recurring_trouble_reopens_the_same_incident() -> None:
    watch = Watch()
    watch.check(waiting=9, active=2, completed=True, faults=(killed(),))
    watch.check(waiting=9, active=2, completed=True)
    watch.check(waiting=9, active=2, completed=True, faults=(killed("another"),))
    watch.check(waiting=9, active=2, completed=True)
    assert watch.states == ["open", "recovering", "open", "recovering"]
    assert watch.incident is not None
    assert watch.incident.subject == "run-1"
    assert len(watch.incident.facts) == 2


def test_names_that_differ_in_digits_are_two_facts_and_changed_figures_are_none() -> None:
    watch = Watch()
    watch.check(after=10 * MINUTE)
    for year in (2025, 2026):
        longest = AtWork(LARGE, f"report-{year}.pdf", "run-1", START)
        lane = LaneState(LARGE, waiting=9, claimable=9, running=1, longest=longest)
        watch.check(lanes=(lane,))
        watch.check(lanes=(lane,))
    assert watch.incident is not None
    assert [fact.split(" has been worked on for ")[0] for fact in watch.incident.facts] == [
        "report-2025.pdf",
        "report-2026.pdf",
    ]


def test_an_outage_hidden_by_another_still_lasts() -> None:
    watch = Watch()
    for _ in range(2):
        watch.check(probes=(probe("broker"), probe("workers", ok=False)))
    assert watch.incident is not None
    assert watch.incident.subject == "workers"
    decision = watch.check(probes=(probe("broker", ok=False), probe("workers", ok=False)))
    assert lasts(watch.incident, decision.troubles)
    told = [one.subject for one in decision.troubles if not one.follows]
    assert told == ["broker"], "the doctor tells of it alone"


def test_the_damage_of_an_outage_is_a_fact_of_its_own() -> None:
    watch = Watch()
    watch.check(waiting=30, active=8, completed=True)
    watch.now += 2 * INTERVAL
    watch.memory = remember_outage(watch.memory, watch.now - INTERVAL)
    watch.memory = remember_outage(watch.memory, watch.now)
    watch.check(waiting=38)
    watch.check(waiting=38, leases_over=7, failures={"DatabaseUnavailableError": 2})
    assert watch.incident is not None
    cost = [fact for fact in watch.incident.facts if "7 documents left by their runs" in fact]
    assert len(cost) == 1
    assert "DatabaseUnavailableError" in cost[0]


def test_an_incident_of_the_previous_version_does_not_repeat_its_facts() -> None:
    watch, down = Watch(), (probe("vectors", ok=False),)
    for _ in range(2):
        watch.check(probes=down)
    assert watch.incident is not None
    del watch.incident.evidence["known"]
    before = watch.incident.facts
    watch.check(probes=down)
    assert watch.incident.facts == before


def test_a_limit_that_begins_while_another_incident_recovers_is_an_incident_of_its_own() -> None:
    watch = Watch()
    watch.check(waiting=9, active=2, completed=True, faults=(killed(),))
    watch.check(waiting=9, active=2, completed=True)
    for _ in range(4):
        watch.check(waiting=9, active=2, rate_limited={"aabb": 3})
    assert watch.states == ["open", "recovering", "closed", "open"]
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("rate-limited", "aabb")
    assert watch.incident.facts == ("the provider limits the rate of key aabb",)


def test_a_database_outage_during_another_recovery_is_an_incident_of_its_own() -> None:
    watch = Watch()
    for _ in range(2):
        watch.check(waiting=9, probes=(probe("provider", False),))
    for _ in range(3):
        watch.check(waiting=9, active=2, completed=True)
    assert watch.memory.incident_since is None
    for _ in range(4):
        watch.now += INTERVAL
        watch.memory = remember_outage(watch.memory, watch.now)
    watch.check(waiting=9, active=2, completed=True)
    assert watch.states == ["open", "recovering", "closed", "open"]
    assert watch.incident is not None
    assert (watch.incident.cause, watch.incident.subject) == ("dependency-down", "database")


def test_a_dependency_that_fails_again_is_the_same_incident() -> None:
    watch, down = Watch(), (probe("provider", False),)
    for _ in range(2):
        watch.check(waiting=9, probes=down)
    for _ in range(2):
        watch.check(waiting=9, active=2, completed=True)
    for _ in range(3):
        watch.check(waiting=9, probes=down)
    assert watch.states == ["open", "recovering", "open"]


def test_actions_that_do_not_help_are_not_repeated_endlessly() -> None:
    watch = Watch(thresholds=Thresholds(max_actions=3))
    for _ in range(100):
        watch.check(waiting=9, leases_over=1)
    counts = Counter((one.action, one.subject) for one in watch.actions)
    assert counts == {("start_run", LANE): 3, ("collect_lost", "documents"): 3}
    assert watch.states == ["open", "escalated"]
    assert watch.incident is not None
    assert any("was done 3 times within the hour" in fact for fact in watch.incident.facts)


CHECK = st.fixed_dictionaries(
    {
        "waiting": st.integers(0, 200),
        "active": st.integers(0, 8),
        "completed": st.booleans(),
        "leases_over": st.integers(0, 2),
        "silent_runs": st.sampled_from([{}, {LANE: ("run-1",)}, {LANE: tuple("abcdefgh")}]),
        "rate_limited": st.sampled_from([{}, {KEY: 3}]),
        "shares": st.sampled_from([(), (Share(ENDPOINT, 0.3, START),)]),
        "failures": st.sampled_from([{}, {"WorkerLostError": 2}]),
        "faults": st.sampled_from([(), (killed(),)]),
        "probes": st.lists(st.sampled_from([probe("provider"), probe("inbox", False)]), max_size=2),
        "after": st.sampled_from([INTERVAL, INTERVAL, INTERVAL, 10 * MINUTE]),
    }
)


@hypothesis_settings(max_examples=50, deadline=None)
@given(checks=st.lists(CHECK, max_size=40), most=st.integers(1, 4))
def test_actions_are_bounded_and_one_incident_is_open_at_a_time(
    checks: list[dict[str, object]], most: int
) -> None:
    watch = Watch(thresholds=Thresholds(max_actions=most))
    for one in checks:
        had, before = watch.incident, len(watch.actions)
        decision = watch.check(**one)  # type: ignore[arg-type]
        if decision.step is not None and had is None:
            assert decision.step.state in ("open", "escalated")
        assert len(watch.actions) - before <= 18
        since = watch.now - timedelta(hours=1)
        counts = Counter(
            (one.action, one.subject)
            for one in watch.actions
            if one.acted_at > since
            and one.action not in ("lower_share", "raise_share", "resume_lane")
        )
        assert max(counts.values(), default=0) <= most
    after = ["open", "recovering", "escalated", "closed"]
    assert set(watch.states) <= set(after)
    for _ in range(30):
        watch.check()
    assert watch.incident is None, "once all is well, it is closed"
    assert watch.paused == {}


@given(st.text(max_size=40))
def test_an_unreadable_cursor_is_ignored(text: str) -> None:
    assert Memory.from_cursor(text) == Memory()


def test_cursors_keep_the_keys_of_earlier_versions() -> None:
    memory = Memory(
        checked_at=START, down_since=START, outage_reported_at=START, outage_escalated_at=START
    )
    stored = json.loads(memory.to_cursor())
    assert {name for name, value in stored.items() if value} == {
        *("looked_at", "away_since", "told_away_at", "called_away_at")
    }
    assert Memory.from_cursor(memory.to_cursor()) == memory
