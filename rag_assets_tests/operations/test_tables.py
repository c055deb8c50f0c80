"""Incidents, actions, samples, pauses, and sessions of runs in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rag_assets.documents.sql.documents import queue_counts, retry
from rag_assets.documents.sql.lanes import pause_lane, paused_lanes, resume_lane
from rag_assets.documents.sql.leases import sessions_of_run
from rag_assets.operations.sql import incidents, samples
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.sql.samples import NewUse
from rag_assets.postgres.database import Database, one
from rag_assets.postgres.run_sessions import named_for_run, runs_with_sessions
from rag_assets_tests.documents.queued import queue, take

BEGAN = datetime.now(UTC) - timedelta(minutes=5)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LANES = ("rag_large_docs", "rag_processing")


def opened(database: Database, *, began_at: datetime = BEGAN) -> int | None:
    with database.connect() as connection:
        return incidents.open_incident(
            connection, "rate-limited", "aabbccdd", ["a fact"], began_at=began_at, longest_queue=3
        )


def current(database: Database) -> Incident | None:
    with database.connect() as connection:
        return incidents.current_incident(connection)


def test_there_is_one_incident_at_a_time(database: Database) -> None:
    first = opened(database)
    assert first is not None
    assert opened(database) is None
    with database.connect() as connection:
        incidents.set_state(connection, first, "closed")
    assert current(database) is None
    second = opened(database)
    assert second is not None
    with database.connect() as connection:
        latest = incidents.last_incidents(connection, limit=5)
    assert [incident.incident_id for incident in latest] == [second, first]
    assert second == first + 1


def test_an_incident_records_the_time_of_each_state(database: Database) -> None:
    number = opened(database)
    assert number is not None
    seen = []
    for state in ("escalated", "recovering", "open", "recovering", "closed"):
        with database.connect() as connection:
            incidents.set_state(connection, number, state)  # type: ignore[arg-type]
            found = incidents.find_incident(connection, number)
        assert found is not None
        assert (found.state, found.cause, found.subject) == (state, "rate-limited", "aabbccdd")
        assert (found.facts, found.name) == (("a fact",), f"incident-{number:04}")
        seen.append(
            (found.escalated_at is not None, found.recovering_at is not None, found.ended_at)
        )
    assert [one[:2] for one in seen] == [
        (True, False), (True, True), (True, False), (True, True), (True, True),
    ]  # fmt: skip
    assert [one[2] is not None for one in seen] == [False] * 4 + [True]


def test_closing_or_escalating_an_incident_requires_a_new_report(database: Database) -> None:
    number = opened(database)
    assert number is not None

    def wanted() -> list[int]:
        with database.connect() as connection:
            return [one.incident_id for one in incidents.unreported_incidents(connection)]

    assert wanted() == []
    for state in ("escalated", "closed"):
        with database.connect() as connection:
            incidents.set_state(connection, number, state)  # type: ignore[arg-type]
        assert wanted() == [number]
        with database.connect() as connection:
            incidents.mark_reported(connection, number, "run")
        assert wanted() == []


def ended(database: Database, key: str, state: str, *, minutes: int = 0) -> None:
    """End the attempt at a document, this long from now."""
    with database.connect() as connection:
        values = {"key": key, "state": state, "at": datetime.now(UTC) + timedelta(minutes=minutes)}
        connection.execute(
            "UPDATE documents SET state = %(state)s, lease_until = NULL, ended_at = %(at)s,"
            " error_class = CASE %(state)s WHEN 'dead' THEN 'AuditError' END"
            " WHERE document_key = %(key)s",
            values,
        )
        connection.execute(
            "UPDATE document_attempts SET ended_at = %(at)s, started_at = %(at)s"
            " WHERE attempt_id = (SELECT max(attempt_id) FROM document_attempts)",
            values,
        )


def figures(database: Database, number: int) -> tuple[int, ...]:
    """In processing, merely waited, failed, retries of an operator, of which failed."""
    with database.connect() as connection:
        incidents.count_incident(connection, number, queue=2)
        found = incidents.find_incident(connection, number)
    assert found is not None
    assert found.longest_queue >= 3
    return (
        *(found.documents_affected, found.documents_waited, found.failed_jobs),
        *(found.retries, found.retries_failed),
    )


def test_an_incident_counts_what_belongs_to_it(database: Database) -> None:
    queue(database, "before", "failed", "waits", "works", "later", "retried")
    take(database, run_id="run", keys=["before", "failed", "works", "retried"])
    ended(database, "before", "ready", minutes=-60)
    ended(database, "retried", "dead", minutes=-60)
    ended(database, "failed", "dead")
    number = opened(database)
    assert number is not None
    assert figures(database, number) == (2, 2, 1, 0, 0)  # failed, works; waits, later
    # An operator puts a dead letter back, and it fails again.
    with database.connect() as connection:
        assert retry(connection, keys=["retried"]) == 1
    assert figures(database, number) == (2, 2, 1, 1, 0)
    take(database, run_id="run", keys=["retried"])
    assert figures(database, number) == (2, 2, 1, 1, 0)
    ended(database, "retried", "dead")
    assert figures(database, number) == (2, 2, 1, 1, 1)
    # What begins once work has resumed is not of the incident.
    with database.connect() as connection:
        incidents.set_state(connection, number, "recovering")
        connection.execute(
            "UPDATE documents SET dropped_at = now() + interval '1 hour'"
            " WHERE document_key = 'later'"
        )
    assert figures(database, number) == (2, 1, 1, 1, 1)
    take(database, run_id="run", keys=["waits"])
    ended(database, "waits", "dead", minutes=1)
    assert figures(database, number) == (2, 1, 1, 1, 1)


def test_actions_before_it_was_noticed_belong_to_the_incident(database: Database) -> None:
    with database.connect() as connection:
        incidents.record_action(connection, "collect_lost", "documents", "why", incident_id=None)
    number = opened(database)
    assert number is not None
    with database.connect() as connection:
        incidents.adopt_actions(connection, number)
        incidents.record_action(
            connection, "end_run", "lane", "why", incident_id=number, done=False, detail="no"
        )
        actions = incidents.actions_of(connection, number)
        assert incidents.actions_since(connection, BEGAN) == actions
    assert [(one.action, one.done, one.detail) for one in actions] == [
        ("collect_lost", True, ""),
        ("end_run", False, "no"),
    ]


def test_an_operators_pause_overrides_the_recoverys(database: Database) -> None:
    with database.connect() as connection:
        assert pause_lane(connection, "rag_bible", "provider", "recovery")
        assert not pause_lane(connection, "rag_bible", "again", "recovery")
        assert pause_lane(connection, "rag_bible", "holidays", "command")
        assert not pause_lane(connection, "rag_bible", "provider", "recovery")
        assert not resume_lane(connection, "rag_bible", "recovery")
        (pause,) = paused_lanes(connection).values()
        assert (pause.reason, pause.paused_by) == ("holidays", "command")
        assert resume_lane(connection, "rag_bible", "command")
        assert paused_lanes(connection) == {}


def bought(database: Database, requests: int, rate_limited: int) -> tuple[NewUse, ...]:
    """Add a key's use to the ledger, and sample it."""
    with database.connect() as connection:
        connection.execute(
            """
            INSERT INTO embedding_spaces (provider, model, dimensions, precision)
            SELECT 'openai', 'm', 3, 'vector' WHERE NOT EXISTS (SELECT FROM embedding_spaces)
            """
        )
        connection.execute(
            """
            INSERT INTO embedding_ledger (run_id, corpus, partition_key, space_id, key_fingerprint,
                                          requests, rate_limited)
            SELECT gen_random_uuid()::text, 'bible', 'EN_X', min(space_id), 'aabbccdd', %s, %s
              FROM embedding_spaces
            """,
            (requests, rate_limited),
        )
    with database.connect() as connection:
        return samples.add_provider_samples(connection)


def test_a_keys_use_is_sampled_only_when_it_changes(database: Database) -> None:
    assert bought(database, 5, 0) == (NewUse("aabbccdd", 5, 0),)
    with database.connect() as connection:
        assert samples.add_provider_samples(connection) == ()
    assert bought(database, 2, 3) == (NewUse("aabbccdd", 2, 3),)
    with database.connect() as connection:
        connection.execute(
            "UPDATE provider_samples SET sampled_at = %s WHERE requests = 5", (LONG_AGO,)
        )
        now = datetime.now(UTC) + timedelta(minutes=1)
        found = samples.provider_samples(connection, BEGAN, now)
        assert [(one.requests, one.rate_limited) for one in found] == [(5, 0), (7, 3)]
        connection.execute("UPDATE provider_samples SET sampled_at = sampled_at - interval '3 y'")
        assert samples.delete_samples(connection, 90) == 1
        (last,) = samples.provider_samples(connection, BEGAN, now)
    assert last.requests == 7, "the next is compared with it"


def test_queue_samples_have_a_row_per_lane_and_expire(database: Database) -> None:
    queue(database, "one", "two")
    take(database, keys=["one"])
    with database.connect() as connection:
        counts = queue_counts(connection)
        samples.add_queue_samples(connection, LANES, counts, {"rag_processing": 9})
        now = datetime.now(UTC) + timedelta(minutes=1)
        found = samples.queue_samples(connection, BEGAN, now)
        assert [(one.lane, one.waiting, one.running, one.succeeded) for one in found] == [
            ("rag_large_docs", 0, 0, 0),
            ("rag_processing", 1, 1, 9),
        ]
        connection.execute("UPDATE queue_samples SET sampled_at = sampled_at - interval '91 days'")
        assert samples.delete_samples(connection, 90) == 2


def test_the_sessions_of_a_run_show_that_it_is_alive(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        assert runs_with_sessions(connection) == frozenset()
        run = "5c0b6e0e-9d13-4b3a-b0a8-1b2f4dd7b1c0"
        with named_for_run(database, run).connect():
            assert runs_with_sessions(connection) == {run}
        with sessions_of_run(database, run).connect():
            assert runs_with_sessions(connection) == {run}


def test_the_queue_at_the_beginning_counts_although_it_was_noticed_later(
    database: Database,
) -> None:
    queue(database, "one", "two", "three")
    with database.connect() as connection:
        (now,) = one(connection.execute("SELECT now()"))
        number = incidents.open_incident(
            connection, "worker-lost", "run-1", [], began_at=now, longest_queue=0
        )
    assert number is not None
    take(database, run_id="run-2")  # all three, before anybody looked
    with database.connect() as connection:
        incidents.count_incident(connection, number, queue=0)
        found = incidents.find_incident(connection, number)
    assert found is not None
    assert found.longest_queue == 3
