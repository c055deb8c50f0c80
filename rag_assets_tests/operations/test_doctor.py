"""The diagnosis: each fault with its level and command, and a snapshot of a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from psycopg import sql

from rag_assets.documents.sql.lanes import KeyState, Pause, Share, pause_lane
from rag_assets.embedding.sql.batches import StoredBatch
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.diagnosis import diagnose
from rag_assets.operations.findings import Level, span
from rag_assets.operations.snapshot import (
    CorpusState,
    IndexState,
    LaneState,
    ReleaseState,
    Snapshot,
)
from rag_assets.operations.sql.failed_runs import Failing
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.sql.queue_health import AtWork
from rag_assets.operations.survey import survey
from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import ServerVersions
from rag_assets.release.refusal import FixGroup
from rag_assets.retrieval.sql.live_recall import LiveRecall
from rag_assets.settings.model import Settings, fingerprint
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import MB, new, queue

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LANE = LaneState("rag_processing")
SLOW = AtWork(LANE.lane, "book.pdf", "run", NOW - timedelta(seconds=301))
BY_RECOVERY = Pause("rag_processing", "no provider", "recovery", NOW)
STORED = CorpusState(
    heavy=(),
    dead={},
    builds=0,
    indexes=(IndexState("bible", 1, 64, 1000, 0.0),),
    release=ReleaseState(3, NOW),
    incident=None,
    unsent_messages=0,
    failing=Failing(NOW),
    providers={"small": "base64"},
)
LOW = FixGroup("`x`", "", "", ("recall is low", "slow"))
BATCH = StoredBatch(
    batch_id=3,
    token=UUID(int=3),
    space_id=1,
    version_code="EN_A",
    run_id="run",
    attempt=1,
    state="submitted",
    provider="in_progress",
    provider_id="batch_3",
    key_name="key",
    output_file_id=None,
    texts=9,
    tokens=90,
    completed=0,
    message="",
    prepared_at=NOW - timedelta(days=2),
    submitting_at=NOW - timedelta(days=2),
    submitted_at=NOW - timedelta(days=2),
    due_at=NOW,
    ended_at=None,
    closed_at=None,
)
SEEN = Snapshot(
    NOW,
    (DependencyProbe("database", True, 0.01, "PostgreSQL 18.1"),),
    lanes=(LANE,),
    keys=(KeyState("e", "aaaa", 0, None), KeyState("e", "bbbb", 0, None)),
    corpus=STORED,
)
INCIDENT = Incident(
    7,
    "open",
    "dependency-down",
    {"subject": "provider"},
    NOW,
    NOW,
    None,
    None,
    None,
    60,
    60,
    0,
    None,
)


def lane(**told: object) -> Snapshot:
    return seen(lanes=(replace(LANE, **told),))  # type: ignore[arg-type]


def seen(**told: object) -> Snapshot:
    return replace(SEEN, **told)  # type: ignore[arg-type]


def stored(**told: object) -> Snapshot:
    return seen(corpus=replace(STORED, **told))  # type: ignore[arg-type]


def batch(**told: object) -> Snapshot:
    return stored(batches=(replace(BATCH, **told),))  # type: ignore[arg-type]


def failing(*names: str, **told: object) -> Snapshot:
    probes = tuple(
        DependencyProbe(name, False, 0.1, f"{name} is away", "mend it") for name in names
    )
    return replace(SEEN, probes=probes, **told)  # type: ignore[arg-type]


def test_the_fix_for_a_lane_depends_on_what_blocks_it() -> None:
    waits = lane(waiting=3, claimable=3, oldest_waiting_s=61)
    (dead,) = diagnose(waits, Settings())
    alive = replace(waits, probes=(DependencyProbe("daemon", True, 0.0, "alive"),))
    (slow,) = diagnose(alive, Settings())
    assert dead.command == "start the daemon: `rag-assets up`"
    assert slow.command.startswith("wait half a minute for a run")
    held = Pause("rag_processing", "a move", "command", NOW)
    (by_person,) = diagnose(lane(paused=held), Settings())
    (by_recovery,) = diagnose(lane(paused=BY_RECOVERY), Settings())
    assert by_person.command == "`rag-assets documents resume rag_processing`"
    assert by_recovery.command.startswith("wait:")


def test_nothing_served_and_the_reason_are_one_finding() -> None:
    fix = FixGroup("`rag-assets index build`", "builds", "", ("index: no index", "index: old"))
    (found,) = diagnose(stored(release=ReleaseState(None, None, (fix,))), Settings())
    assert found.evidence == (
        "nothing is served yet; the gate refuses the next release: index: no index (and 1 more): "
        "run `rag-assets index build`"
    )
    assert found.command == "`rag-assets index build`"
    begun = replace(fix, automation="run 12345678 will do this")
    (found,) = diagnose(stored(release=ReleaseState(3, NOW, (begun,))), Settings())
    assert "run 12345678 will do this" in found.evidence
    assert found.command == "`rag-assets release gate`"


@pytest.mark.parametrize(
    ("facts", "area", "level", "words"),
    [
        (failing("provider"), "provider", "problem", "provider is away"),
        (failing("disk"), "disk", "problem", "disk is away"),
        (failing("daemon"), "daemon", "warning", "daemon is away"),
        (failing("daemon", daemon_was_seen=True), "daemon", "problem", "daemon is away"),
        (replace(SEEN, pending=("0006.sql",)), "database", "problem", "0006.sql"),
        (replace(SEEN, corpus=None, unread="gone"), "database", "problem", "gone"),
        (
            lane(waiting=3, claimable=3, oldest_waiting_s=61),
            "rag_processing",
            "problem",
            "3 documents could be claimed in rag_processing, but none was for 61 s",
        ),
        (
            lane(waiting=1, claimable=1, oldest_waiting_s=9),
            "rag_processing",
            "warning",
            "1 document waiting, the oldest for 9 s",
        ),
        (
            lane(waiting=51, claimable=51, running=2, runs_at_work=1, oldest_waiting_s=601),
            "queue",
            "problem",
            "51 documents waiting, and none was completed for 600 s",
        ),
        (
            lane(
                waiting=2,
                running=1,
                runs_at_work=1,
                claimable=2,
                longest=SLOW,
            ),
            "rag_processing",
            "warning",
            "book.pdf has been worked on for 301 s",
        ),
        (
            lane(waiting=9, claimable=9, oldest_waiting_s=9e4, paused=BY_RECOVERY),
            "rag_processing",
            "warning",
            "paused by recovery: no provider",
        ),
        (stored(dead={"EmptyDocumentError": 2}), "dead letters", "warning", "2 EmptyDocument"),
        (
            seen(keys=(KeyState("e", "aaaa", 9, None),)),
            "provider",
            "warning",
            "the rate of key aaaa",
        ),
        (
            seen(keys=(KeyState("e", "aaaa", 0, 60), SEEN.keys[1])),
            "provider",
            "warning",
            "out of quota: key aaaa",
        ),
        (seen(keys=(KeyState("e", "aaaa", 0, 60),)), "provider", "problem", "out of quota"),
        (seen(shares=(Share("e", 0.25, NOW),)), "provider", "warning", "25%"),
        (stored(indexes=(IndexState("t", 1, 64, 1000, 0.21),)), "index", "warning", "21%"),
        (
            stored(live_recall=(LiveRecall(3, "both", "ivfflat", 50, hits=500, hits_found=474),)),
            "release",
            "warning",
            "ivfflat find 94.8% of what exact search finds, under 95% (50 searches",
        ),
        (stored(release=ReleaseState(None, None)), "release", "warning", "nothing is served"),
        (
            stored(release=ReleaseState(3, NOW, (LOW,))),
            "release",
            "warning",
            "recall is low (and 1 more)",
        ),
        (stored(incident=INCIDENT), "incident", "warning", "incident-0007 is open: dep"),
        (stored(incident=replace(INCIDENT, state="escalated")), "incident", "problem", "escal"),
        (stored(unsent_messages=2), "messages", "warning", "2 messages"),
        (batch(due_at=NOW - timedelta(hours=3)), "batch", "warning", "EN_A is 3 h overdue"),
        (batch(message="the API key is gone"), "batch", "warning", "EN_A: the API key is gone"),
        (batch(state="prepared", message="x"), "batch", "warning", "not be begun for 2 d (x)"),
        (batch(state="ended", ended_at=NOW - timedelta(hours=3)), "batch", "problem", "3 h ago"),
        (batch(state="failed", message="bad_file"), "batch", "warning", "refused: bad_file"),
    ],
)
def test_each_fault_is_reported_with_its_level_and_fix(
    make_settings: MakeSettings, facts: Snapshot, area: str, level: Level, words: str
) -> None:
    (found,) = diagnose(facts, make_settings())
    assert (found.area, found.level) == (area, level)
    assert words in found.evidence
    assert found.command


@pytest.mark.parametrize(
    "facts",
    [
        SEEN,
        lane(
            waiting=0,
            running=2,
            runs_at_work=1,
            longest=SLOW,
        ),
        lane(waiting=3, claimable=0, oldest_waiting_s=3600),  # each has its time to come
        lane(waiting=3, claimable=3, runs_queued=1, oldest_waiting_s=599),
        lane(waiting=3, claimable=3, runs_queued=1, oldest_waiting_s=3600, last_completed_at=NOW),
        lane(waiting=51, running=1, runs_at_work=1, last_completed_at=NOW, oldest_waiting_s=900),
        lane(waiting=51, running=1, runs_at_work=1, oldest_waiting_s=599),
        seen(keys=(KeyState("e", "aaaa", 0, 86_401),)),
        stored(indexes=(IndexState("t", 1, 64, 1000, 0.2),)),
        batch(),
        batch(state="prepared", prepared_at=NOW - timedelta(minutes=59), due_at=None),
        stored(batches=(replace(BATCH, state="prepared"), BATCH)),
        batch(state="ended", ended_at=NOW - timedelta(hours=1)),
        stored(indexes=(IndexState("t", None, None, 0, 9.0),)),
        stored(live_recall=(LiveRecall(3, "both", "codes", 50, hits=500, hits_found=475),)),
        stored(live_recall=(LiveRecall(3, "both", "ivfflat", 49, hits=490, hits_found=300),)),
        stored(live_recall=(LiveRecall(3, "both", "ivfflat", 99, skipped=9),)),
        stored(
            indexes=(),
            release=ReleaseState(None, None, (LOW,)),
        ),
    ],
)
def test_a_healthy_system_has_no_findings(make_settings: MakeSettings, facts: Snapshot) -> None:
    assert diagnose(facts, make_settings()) == ()


def test_a_stuck_lane_is_reported_although_another_progresses(
    make_settings: MakeSettings,
) -> None:
    still = replace(LANE, waiting=500, claimable=500, oldest_waiting_s=9000, runs_at_work=2)
    other = LaneState("rag_large_docs", running=1, last_completed_at=NOW)
    (found,) = diagnose(seen(lanes=(still, other)), make_settings())
    assert (found.rule, found.area, found.level) == ("documents-idle", LANE.lane, "problem")
    assert "with 2 runs under way" in found.evidence


def test_a_read_only_database_is_diagnosed_as_well(
    openai_settings: MakeSettings, database: Database
) -> None:
    settings = openai_settings()
    queue(database, "one")
    with database.connect(autocommit=True) as connection:
        statement = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
        connection.execute(statement.format(sql.Identifier(database.name)))
    found = survey(settings)
    assert found.unread is None
    assert found.corpus is not None


def test_consequences_of_another_fault_are_not_reported(make_settings: MakeSettings) -> None:
    settings = make_settings()
    found = diagnose(failing("database", "vectors", "dagster", "daemon", corpus=None), settings)
    assert [finding.area for finding in found] == ["database"]
    found = diagnose(failing("dagster", "daemon"), settings)
    assert [finding.area for finding in found] == ["dagster"]
    assert [one.area for one in diagnose(failing("vectors"), settings)] == ["vectors"]


def test_problems_come_first(make_settings: MakeSettings) -> None:
    facts = replace(
        failing("provider"),
        corpus=replace(STORED, dead={"X": 1}),
        shares=(Share("e", 0.5, NOW),),
    )
    levels = [finding.level for finding in diagnose(facts, make_settings())]
    assert levels == ["problem", "warning", "warning"]


@pytest.mark.parametrize(
    ("version", "url", "level"),
    [
        ("0.8.1", "postgresql://db.example/corpus", "warning"),
        ("0.8.5", "postgresql://db.example/corpus", "warning"),
        ("0.8.5", None, "information"),  # there is no newer one for the embedded server
        ("0.8.7", "postgresql://db.example/corpus", None),
        ("0.8.7", None, None),
    ],
)
def test_a_pgvector_with_known_faults_is_named_with_what_to_do(
    version: str, url: str | None, level: Level | None
) -> None:
    facts = replace(SEEN, versions=ServerVersions("18.1", 18, version, True, version))
    found = diagnose(facts, Settings(rag_database_url=url))
    assert [finding.level for finding in found] == ([level] if level else [])
    for finding in found:
        assert finding.area == "vectors"
        assert f"pgvector {version} has known faults: " in finding.evidence
        assert "IVFFlat index builds, fixed in 0.8.7 (an index build can crash" in finding.evidence
        assert ("CVE-2026-3172" in finding.evidence) == (version == "0.8.1")


def test_a_deprecated_setting_is_a_warning_that_names_the_new_one(
    make_settings: MakeSettings,
) -> None:
    assert diagnose(SEEN, make_settings(rag_golden_lost_max=1)) == ()
    (found,) = diagnose(SEEN, make_settings(rag_golden_agreement=0.98))
    assert (found.area, found.level) == ("settings", "warning")
    assert found.evidence == "RAG_GOLDEN_AGREEMENT is deprecated: the next version does not read it"
    assert found.command == (
        "set RAG_GOLDEN_LOST_MAX, the number of golden queries that may be lost"
    )


def test_information_comes_last(make_settings: MakeSettings) -> None:
    facts = replace(
        failing("provider"),
        corpus=replace(STORED, dead={"X": 1}),
        versions=ServerVersions("18.1", 18, "0.8.5", True, "0.8.5"),
    )
    levels = [finding.level for finding in diagnose(facts, Settings())]
    assert levels == ["problem", "warning", "information"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_durations_are_readable(seconds: float, told: str) -> None:
    assert span(seconds) == told


def test_a_malformed_key_is_only_a_finding_of_the_provider(openai_settings: MakeSettings) -> None:
    settings = openai_settings(openai_api_key="sk-test one")
    facts = survey(settings)
    assert facts.unread is None
    told = {found.area: found.evidence for found in diagnose(facts, settings)}
    assert "has characters that no key has" in told["provider"]
    assert "database" not in told


def test_the_snapshot_matches_the_database(
    openai_settings: MakeSettings, database: Database, tmp_path: Path
) -> None:
    settings: Settings = openai_settings(rag_documents_url=str(tmp_path))
    large = new("large", size=30 * MB, lane="rag_large_docs")
    queue(database, "waiting", "worked", "broken", large)
    with database.connect() as connection:
        for change in (
            """UPDATE documents SET state = 'running', run_id = 'run', lease_until = now() + '1 h',
                      started_at = now() - interval '40 s'
                WHERE document_key IN ('worked', 'broken')""",
            """UPDATE documents SET state = 'ready', run_id = NULL, lease_until = NULL,
                      ended_at = now() WHERE document_key = 'worked'""",
            """UPDATE documents SET state = 'dead', run_id = NULL, lease_until = NULL,
                      ended_at = now(), error_class = 'EmptyDocumentError', error = 'nothing in it'
                WHERE document_key = 'broken'""",
            """UPDATE documents SET queued_at = now() - interval '100 s'
                WHERE document_key = 'waiting'""",
        ):
            connection.execute(change)
        pause_lane(connection, "rag_bible", "tests", "command")
    facts = survey(settings)
    assert facts.corpus is not None
    by_lane = {lane.lane: lane for lane in facts.lanes}
    assert set(by_lane) == {"rag_processing", "rag_large_docs", "rag_bible"}
    small = by_lane["rag_processing"]
    assert (small.waiting, small.running, small.dead) == (1, 0, 1)
    assert (small.succeeded, small.failed) == (1, 1)
    assert small.oldest_waiting_s == pytest.approx(100, abs=5)
    assert small.mean_s == pytest.approx(40, abs=5)
    paused = by_lane["rag_bible"].paused
    assert paused is not None
    assert paused.description == "by command: tests"
    assert [document.key for document in facts.corpus.heavy] == ["large"]
    assert [key.key_fingerprint for key in facts.keys] == [fingerprint("sk-test-one")]
    assert facts.corpus.dead == {"EmptyDocumentError": 1}
    areas = {(found.area, found.level) for found in diagnose(facts, settings)}
    assert ("rag_processing", "problem") in areas
    assert ("dagster", "problem") in areas  # there is work, and nobody to do it
    assert ("dead letters", "warning") in areas


def test_a_missing_watch_is_reported_where_the_daemon_runs() -> None:
    alive = replace(
        SEEN,
        probes=(DependencyProbe("daemon", True, 0.0, "alive"),),
        daemon_was_seen=True,
    )
    (found,) = diagnose(alive, Settings())
    assert (found.area, found.level) == ("watch", "information")
    assert diagnose(replace(alive, corpus=replace(STORED, watches=1)), Settings()) == ()
    assert diagnose(replace(alive, daemon_was_seen=False), Settings()) == ()
