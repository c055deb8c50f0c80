"""Messages: sent once, outside quiet hours, and without their address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.errors import SlackUnavailableError
from rag_assets.operations.memory import Memory
from rag_assets.operations.messages import (
    deliver,
    describe_incident,
    is_due,
    is_quiet,
    notify_of_incident,
    post,
    send,
)
from rag_assets.operations.sql.incidents import Incident, RecoveryAction
from rag_assets.operations.sql.messages import add_message, unsent_messages
from rag_assets.operations.thresholds import INTERVAL
from rag_assets.operations.watching import missed
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.operations.slack_receiver import receiving

DAY = datetime(2026, 5, 1, 15, tzinfo=UTC)  # noon in Sao Paulo
NIGHT = datetime(2026, 5, 1, 4, tzinfo=UTC)  # one o'clock there
INCIDENT = Incident(
    incident_id=7,
    state="open",
    cause="rate-limited",
    evidence={"subject": "aabbccdd", "facts": ["the provider limits the rate of key aabbccdd"]},
    began_at=DAY,
    noticed_at=DAY + timedelta(minutes=1),
    recovering_at=None,
    escalated_at=None,
    ended_at=None,
    longest_queue=120,
    documents_affected=130,
    failed_jobs=0,
    reported_run=None,
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def waiting(database: Database) -> list[str]:
    with database.connect() as connection:
        return [message.subject for message in unsent_messages(connection)]


def tell(database: Database, settings: Settings, *incidents: Incident) -> None:
    with database.connect() as connection:
        for incident in incidents:
            notify_of_incident(connection, incident, settings)


def test_an_incident_is_described_in_a_few_lines() -> None:
    done = [
        RecoveryAction("pause_lane", lane, "", True, "", DAY)
        for lane in ("rag_bible", "rag_processing", "rag_bible")
    ]
    assert describe_incident(INCIDENT, done, "http://127.0.0.1:3000") == (
        ":warning: Incident 7: *rate-limited* (aabbccdd), since 2026-05-01 15:00:00 UTC, 120 "
        "documents waiting.\n"
        "• the provider limits the rate of key aabbccdd\n"
        "Done: pause lane rag_bible, pause lane rag_processing.\n"
        "`rag-assets doctor` says more; http://127.0.0.1:3000/assets/incident_report"
    )


def test_an_incident_is_reported_once_and_again_when_it_is_escalated(
    database: Database, make_settings: MakeSettings
) -> None:
    with receiving() as slack:
        settings = make_settings(slack_webhook_url=slack.url)
        escalated = replace(INCIDENT, state="escalated")
        for incident in (INCIDENT, INCIDENT, escalated, escalated):
            tell(database, settings, incident)
            deliver(database, settings, Memory(), DAY, log=lambda _: None)
    assert [text.partition(":")[2].partition(":")[0] for text in slack.texts] == [
        "warning",
        "rotating_light",
    ]


def test_an_incident_escalated_from_the_start_is_reported_once(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    tell(database, settings, replace(INCIDENT, state="escalated"))
    assert waiting(database) == ["incident-7"]


def test_in_quiet_hours_only_urgent_messages_are_sent_and_the_rest_later(
    database: Database, make_settings: MakeSettings
) -> None:
    with receiving() as slack:
        settings = make_settings(slack_webhook_url=slack.url, rag_slack_quiet_hours="22:00-07:00")
        tell(database, settings, INCIDENT, replace(INCIDENT, incident_id=8, cause="out-of-quota"))
        deliver(database, settings, Memory(), NIGHT, log=lambda _: None)
        assert len(slack.texts) == 1
        assert "out-of-quota" in slack.texts[0]
        assert waiting(database) == ["incident-7"]
        deliver(database, settings, Memory(), DAY, log=lambda _: None)
    assert len(slack.texts) == 2


@given(
    clock=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    hours=st.sampled_from(["22:00-07:00", "12:00-13:00", "00:00-23:59", ""]),
)
def test_quiet_hours_are_in_local_time(clock: datetime, hours: str) -> None:
    settings = Settings(rag_timezone="America/Sao_Paulo", rag_slack_quiet_hours=hours)
    local = (clock - timedelta(hours=3)).strftime("%H:%M:%S")  # it has no summer time
    begin, _, end = hours.partition("-")
    inside = begin <= local < end if begin <= end else local >= begin or local < end
    assert is_quiet(clock, settings) == (bool(hours) and inside)


def test_without_a_webhook_messages_stay_in_the_log(
    database: Database, make_settings: MakeSettings
) -> None:
    lines: list[str] = []
    tell(database, make_settings(), INCIDENT)
    deliver(database, make_settings(), Memory(), DAY, log=lines.append)
    assert len(lines) == 1
    assert waiting(database) == []


@contextmanager
def answering(status: int) -> Iterator[str]:
    """Serve this answer; yield the URL, which contains a secret."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"not today")

        def log_message(self, format: str, *arguments: object) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/services/T0/B0/s3cret"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_messages_refused_by_slack_are_retried_and_the_address_is_never_shown(
    database: Database,
    make_settings: MakeSettings,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(0)
    lines: list[str] = []
    memory, now = Memory(), DAY
    with answering(503) as url:
        settings = make_settings(slack_webhook_url=url)
        tell(database, settings, INCIDENT, replace(INCIDENT, incident_id=8))
        for _ in range(2):
            memory = deliver(database, settings, memory, now, log=lines.append)
            now += INTERVAL
    memory = deliver(database, settings, memory, now, log=lines.append)  # nobody is there any more
    with database.connect() as connection:
        first, second = unsent_messages(connection)
    assert (first.attempts, second.attempts) == (3, 0)
    shown = "".join([*lines, caplog.text, str(first.error), repr(settings), *capfd.readouterr()])
    assert "will be retried: Slack answers 503" in shown
    assert "Slack cannot be reached" in shown
    assert "s3cret" not in shown
    with receiving() as slack:
        settings = make_settings(slack_webhook_url=slack.url)
        memory = deliver(database, settings, memory, now, log=lines.append)
        assert not slack.texts, "it is left alone for as long as it had refused"
        memory = deliver(database, settings, memory, now + 2 * INTERVAL, log=lines.append)
    assert len(slack.texts) == 2
    assert memory == Memory()


@pytest.mark.parametrize(
    ("urgent", "seconds"),
    [
        (False, [0, 30, 60, 120, 240, 480, 780, 1080, 1380]),
        (True, [0, 30, 60, 120, 180, 240, 300, 360, 420]),
    ],
)
def test_pauses_grow_while_slack_refuses_but_less_for_urgent_messages(
    make_settings: MakeSettings, urgent: bool, seconds: list[int]
) -> None:
    memory, tried = Memory(), []
    with answering(503) as url:
        settings = make_settings(slack_webhook_url=url)
        for number in range(100):
            now = DAY + number * INTERVAL
            memory = Memory.from_cursor(memory.to_cursor())
            if is_due(settings, memory, now, urgent=urgent):
                memory, refusal = post("hello", settings, memory, now)
                assert refusal == "Slack answers 503"
                tried.append((now - DAY) // timedelta(seconds=1))
    assert tried[: len(seconds)] == seconds


def test_urgent_messages_do_not_wait_for_others(
    database: Database, make_settings: MakeSettings
) -> None:
    refused = Memory(slack_refused_since=DAY, slack_tried_at=DAY + timedelta(minutes=5))
    now = DAY + timedelta(minutes=6)
    with receiving() as slack:
        settings = make_settings(slack_webhook_url=slack.url)
        tell(database, settings, INCIDENT)
        assert deliver(database, settings, refused, now, log=lambda _: None) == refused
        tell(database, settings, replace(INCIDENT, incident_id=8, state="escalated"))
        memory = deliver(database, settings, refused, now, log=lambda _: None)
        assert waiting(database) == ["incident-7"]
        deliver(database, settings, memory, now, log=lambda _: None)
        assert [text.partition(" ")[0] for text in slack.texts] == [":rotating_light:", ":warning:"]


def test_a_database_outage_is_reported_once_and_escalated_later(
    make_settings: MakeSettings,
) -> None:
    lines: list[str] = []
    with receiving() as slack:
        settings = make_settings(slack_webhook_url=slack.url, rag_slack_quiet_hours="22:00-07:00")
        memory = Memory()
        for number in range(60):
            memory = missed(settings, memory, DAY + number * INTERVAL, log=lines.append).memory
        assert [text.partition(" ")[0] for text in slack.texts] == [":warning:", ":rotating_light:"]
        assert memory.outage_reported_at == DAY + timedelta(minutes=1)
        assert memory.outage_escalated_at == DAY + timedelta(minutes=10)
        slack.texts.clear()
        memory = Memory()
        for number in range(60):
            memory = missed(settings, memory, NIGHT + number * INTERVAL, log=lines.append).memory
        assert [text.partition(" ")[0] for text in slack.texts] == [":rotating_light:"], "quiet"
    assert lines[-1] == slack.texts[-1]


def test_quoted_texts_cannot_forge_lines_or_mentions() -> None:
    evil = "a.pdf\n• all is well <!channel> <https://a.example|here> \x1b[31m & co"
    incident = replace(INCIDENT, evidence={"subject": evil, "facts": [evil, "a fact"]})
    text = describe_incident(incident, [], "http://127.0.0.1:3000")
    assert [line[:1] for line in text.splitlines()] == [":", "•", "•", "`"]
    with receiving() as slack:
        send(slack.url, text, timeout_s=5)
        (said,) = slack.texts
    assert said.splitlines()[1] == (
        r"• a.pdf\n• all is well &lt;!channel&gt; &lt;https://a.example|here&gt; "
        r"\x1b[31m &amp; co"
    )


@pytest.mark.parametrize("address", ["no address at all/s3cret", "http://[s3cret", "s3cret://x"])
def test_an_invalid_address_is_not_shown_either(address: str) -> None:
    with pytest.raises(SlackUnavailableError) as raised:
        send(address, "hello", timeout_s=1)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_one_subject_has_one_message(database: Database) -> None:
    with database.connect() as connection:
        assert add_message(connection, "a", "first", urgent=False)
        assert not add_message(connection, "a", "second", urgent=True)
        (message,) = unsent_messages(connection)
    assert message.text == "first"
