"""The report of an incident: its eight fields, and its plots. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rag_assets.operations.findings import CAUSES, JOB_FAILED
from rag_assets.operations.report import EXPLAIN, PREVENTION, curves, span, write
from rag_assets.operations.sql.incidents import Incident, RecoveryAction
from rag_assets.operations.sql.samples import QueueSample
from rag_assets.settings.model import Settings

BEGAN = datetime(2026, 5, 1, 12, 3, 10, tzinfo=UTC)
NOW = BEGAN + timedelta(minutes=20)
INCIDENT = Incident(
    incident_id=7,
    state="closed",
    cause="rate-limited",
    evidence={"subject": "aabbccdd", "facts": ["the provider limits the rate of key aabbccdd"]},
    began_at=BEGAN,
    noticed_at=BEGAN + timedelta(seconds=62),
    recovering_at=BEGAN + timedelta(minutes=6, seconds=5),
    escalated_at=None,
    ended_at=BEGAN + timedelta(minutes=16, seconds=30),
    longest_queue=312,
    documents_affected=28,
    documents_waited=312,
    failed_jobs=4,
    reported_run=None,
)
ACTIONS = [
    RecoveryAction("lower_share", "https://provider", "14 answers of 429", True, "", BEGAN),
    RecoveryAction("end_run", "rag_bible", "nothing was seen of it", False, "it ended", BEGAN),
]


def test_a_report_has_all_its_fields() -> None:
    assert write(INCIDENT, ACTIONS, now=NOW).splitlines() == [
        "## Incident 7: rate-limited (aabbccdd)",
        "",
        "| | |",
        "|---|---|",
        "| Began | 2026-05-01 12:03:10 UTC; noticed 12:04:12 |",
        "| Lasted | 6 min 5 s; closed 2026-05-01 12:19:40 |",
        "| Longest queue | 312 documents |",
        "| In processing | 28 documents |",
        "| Merely waited | 312 documents |",
        "| Failed jobs | 4 |",
        "| Root cause | rate-limited (aabbccdd) |",
        "",
        "### Evidence",
        "",
        "- the provider limits the rate of key aabbccdd",
        "",
        "### What was done",
        "",
        "- 12:03:10 lower share: 14 answers of 429",
        "- 12:03:10 end run rag_bible: nothing was seen of it (failed: it ended)",
        "",
        "### A document that is still not found",
        "",
        f"- {EXPLAIN}",
        "",
        "### What prevents it",
        "",
        PREVENTION["rate-limited"],
    ]


def test_retries_of_operators_are_a_row_of_their_own() -> None:
    report = write(replace(INCIDENT, retries=3, retries_failed=1), ACTIONS, now=NOW)
    assert (
        "| Retried by an operator | 3 documents; 1 attempt at them failed |\n| Failed jobs | 4 |"
        in report
    )


def test_jobs_that_failed_because_of_it_follow_the_evidence() -> None:
    report = write(INCIDENT, ACTIONS, now=NOW, failed=["nightly_index failed", "a_job failed"])
    assert (
        "key aabbccdd\n\n### Jobs that failed because of it\n\n- nightly_index failed\n"
        "- a_job failed\n\n### What was done\n" in report
    )


def test_an_ongoing_incident_says_so_and_that_an_operator_was_notified() -> None:
    going_on = replace(
        INCIDENT, state="escalated", recovering_at=None, ended_at=None, escalated_at=NOW
    )
    report = write(going_on, [], now=NOW)
    assert "| Lasted | 20 min 0 s, ongoing; escalated; an operator was notified |" in report
    assert "- nothing: it recovered automatically" not in report
    assert "- nothing yet" in report


def test_each_cause_names_a_prevention_with_existing_settings() -> None:
    assert set(PREVENTION) == {*CAUSES, JOB_FAILED}
    settings = {name.upper() for name in Settings.model_fields}
    named = set(re.findall(r"\b(?:RAG|OPENAI)_[A-Z_]+", " ".join(PREVENTION.values())))
    assert len(named) > 6
    assert named <= settings


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (59.6, "1 min 0 s"), (365, "6 min 5 s"), (7260, "2 h 1 min")]
)
def test_a_duration_is_formatted(seconds: float, told: str) -> None:
    assert span(timedelta(seconds=seconds)) == told


def test_curves_are_over_all_lanes() -> None:
    looks = {-1: ((5, 10), (1, 2)), 0: ((6, 10), (1, 2)), 1: ((2, 14), (0, 3))}
    drawn = [
        QueueSample(BEGAN + timedelta(minutes=minute), lane, waiting, 0, 0, succeeded)
        for minute, (small, large) in looks.items()
        for lane, (waiting, succeeded) in (("small", small), ("large", large))
    ]
    assert curves(drawn, BEGAN) == ([-1, 0, 1], [6, 7, 2], [0, 5])
    assert curves([], BEGAN) == ([], [], [])
