"""Alerts as they are delivered: a real Prometheus and a real Alertmanager, with the compose files'
own configuration and commands, to servers in the place of Slack, a mail server and a heartbeat's.

What is shortened: the rules' times (``for``), Alertmanager's waits within a group, and how long
Prometheus and Alertmanager wait before they send again what they have sent.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import httpx
import pytest
from dagster._daemon.types import DaemonHeartbeat

from rag_assets.operations.alerting import HEARTBEAT, WATCHDOG, alertmanager_config
from rag_assets.operations.exporter import exporting
from rag_assets.operations.metrics import OperationsMetrics
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.api.server import wait_until
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.defs.deployment import ROOT, free_port, stop
from rag_assets_tests.deployment.compose import services
from rag_assets_tests.operations.promql import RULES
from rag_assets_tests.operations.slack_receiver import Receiver, receiving
from rag_assets_tests.operations.smtp_server import Mailbox, receiving_mail
from rag_assets_tests.operations.test_alerting import AMTOOL, amtool

ALERTMANAGER = shutil.which("prometheus-alertmanager")
PROMETHEUS = shutil.which("prometheus")
needs_both = pytest.mark.skipif(
    None in (ALERTMANAGER, PROMETHEUS, AMTOOL),
    reason="Prometheus or Alertmanager is not here: they come with Debian's packages prometheus "
    "and prometheus-alertmanager",
)
PARTS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING", "EVENT_LOG_CONSUMER")
SMTP_PASSWORD = "of-the-mail-server"  # noqa: S105
PATIENCE_S = 60


@dataclass
class Place:
    """A folder with what Prometheus and Alertmanager read, and the two as processes."""

    folder: Path
    settings: Settings
    ports: dict[str, int] = field(default_factory=lambda: {
        "alertmanager": free_port(), "prometheus": free_port(),
    })  # fmt: skip
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def alertmanager(self) -> str:
        return f"http://127.0.0.1:{self.ports['alertmanager']}"

    def configure(self, settings: Settings) -> None:
        """Write Alertmanager's configuration with short waits; a running one reloads it."""
        config = alertmanager_config(settings)
        for route in (config["route"], *config["route"]["routes"]):
            route |= {"group_wait": "1s", "group_interval": "1s"}
            if route["receiver"] == HEARTBEAT:
                route["repeat_interval"] = "1s"
        (self.folder / "alertmanager.yml").write_text(json.dumps(config))
        if self.running:
            httpx.post(f"{self.alertmanager}/-/reload", trust_env=False).raise_for_status()

    def start_alertmanager(self) -> None:
        self.configure(self.settings)
        self._start("alertmanager", str(ALERTMANAGER), {
            "/etc/alertmanager": str(self.folder),
            "=/alertmanager": f"={self.folder}/alertmanager",
        })  # fmt: skip

    def start_prometheus(self, exporter: str) -> None:
        """Start Prometheus with compose's configuration and our rules, on this exporter."""
        rules = re.sub(r"(?m)^( +)for: .*$", r"\1for: 0s", RULES.read_text("utf-8"))
        (self.folder / "rules.yml").write_text(rules)
        config = (ROOT / "deploy/compose/prometheus.yml").read_text("utf-8")
        config = config.replace("15s", "1s")
        config = config.replace("alertmanager:9093", self.alertmanager.removeprefix("http://"))
        config = config.replace("exporter:9808", exporter)
        (self.folder / "prometheus.yml").write_text(config)
        self._start("prometheus", str(PROMETHEUS), {
            "/etc/prometheus": str(self.folder), "=/prometheus": f"={self.folder}/tsdb",
        })  # fmt: skip

    def _start(self, name: str, program: str, replaced: dict[str, str]) -> None:
        """Start a compose service without Docker, with its own folders and port."""
        words = [str(word) for word in services()[name]["command"]]
        if name == "prometheus":  # what fired before it knew Alertmanager is sent a minute later
            words.append("--rules.alert.resend-delay=5s")
        for old, new in replaced.items():
            words = [word.replace(old, new) for word in words]
        address = f"127.0.0.1:{self.ports[name]}"
        log = (self.folder / f"{name}.log").open("wb")
        self.running.append(
            subprocess.Popen(
                [program, *words, f"--web.listen-address={address}"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        log.close()

        def ready() -> bool:
            try:
                return httpx.get(f"http://{address}/-/ready", trust_env=False).is_success
            except httpx.TransportError:
                return False

        wait_until(ready, PATIENCE_S, lambda: self.log(name))

    def log(self, name: str) -> str:
        """The end of what it printed."""
        return (self.folder / f"{name}.log").read_text("utf-8")[-3000:]

    def add(self, name: str, severity: str) -> None:
        """Raise an alert by hand."""
        url = f"--alertmanager.url={self.alertmanager}"
        added = amtool("alert", "add", name, f"severity={severity}", url)
        assert added.returncode == 0, added.stderr


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def heartbeat() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with receiving_mail() as box:
        yield box


@pytest.fixture
def settings(
    make_settings: MakeSettings, slack: Receiver, heartbeat: Receiver, mailbox: Mailbox
) -> Settings:
    return make_settings(
        slack_webhook_url=slack.url,
        rag_alert_heartbeat_url=heartbeat.url,
        rag_alert_email_to="on-call@example.org, chief@example.org",
        rag_alert_email_from="rag@example.org",
        rag_alert_smtp_host=mailbox.address,
        rag_alert_smtp_user="rag",
        rag_alert_smtp_password=SMTP_PASSWORD,
        rag_alert_smtp_tls=False,
        rag_metrics_cache_s=0,
    )


@pytest.fixture
def place(tmp_path: Path, settings: Settings) -> Iterator[Place]:
    made = Place(tmp_path, settings)
    try:
        made.start_alertmanager()
        yield made
    finally:
        for process in made.running:
            stop(process)


@pytest.fixture
def daemon(database: Database, tmp_path: Path) -> Iterator[Callable[[float], None]]:
    """Add heartbeats of Dagster's daemon of this age."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAG_DATABASE_URL", database.conninfo)
        patched.chdir(home)  # dagster.yaml's folders are relative
        with dg.DagsterInstance.from_config(str(home)) as instance:

            def seen(ago_s: float) -> None:
                for part in PARTS:
                    instance.add_daemon_heartbeat(
                        DaemonHeartbeat(time.time() - ago_s, part, f"{part}-1", errors=[])
                    )

            yield seen
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database.name}_dagster WITH (FORCE)")


def about(name: str, receiver: Receiver) -> list[tuple[str, str]]:
    """Titles and texts of the messages in Slack about an alert."""
    attachments = [part for body in receiver.bodies for part in body.get("attachments", ())]
    return [(part["title"], part["text"]) for part in attachments if name in part["title"]]


def mails(name: str, mailbox: Mailbox) -> list[str]:
    """Subjects of the mails about an alert."""
    return [str(mail["Subject"]) for mail in mailbox.messages if name in str(mail["Subject"])]


@needs_both
def test_a_dead_daemon_is_reported_by_slack_and_mail_and_so_is_its_return(
    place: Place,
    database: Database,
    daemon: Callable[[float], None],
    slack: Receiver,
    mailbox: Mailbox,
    heartbeat: Receiver,
) -> None:
    daemon(600)
    metrics = OperationsMetrics(
        place.settings, corpus=database, dagster=database.named(f"{database.name}_dagster")
    )
    with exporting(metrics, host="127.0.0.1", port=0) as url:
        place.start_prometheus(httpx.URL(url).netloc.decode())
        wait_until(lambda: about("RAGDaemonDead", slack), PATIENCE_S, lambda: str(slack.bodies))
        title, text = about("RAGDaemonDead", slack)[0]
        assert title.startswith("[FIRING:")
        assert "Dagster's daemon SENSOR shows no sign of life" in text
        assert "docs/operations/alerts.md#ragdaemondead" in text
        wait_until(lambda: mails("RAGDaemonDead", mailbox), PATIENCE_S)
        assert mailbox.logins[0] == ("rag", SMTP_PASSWORD)
        assert {"on-call@example.org", "chief@example.org"} == {
            address.strip() for address in str(mailbox.messages[0]["To"]).split(",")
        }

        wait_until(lambda: about("RAGTargetDown", slack), PATIENCE_S)  # no API runs here
        daemon(0)

        def resolved() -> bool:
            said = [title for title, _ in about("RAGDaemonDead", slack)]
            return said[-1].startswith("[RESOLVED]") and any(
                subject.startswith("[RESOLVED]") for subject in mails("RAGDaemonDead", mailbox)
            )

        wait_until(resolved, PATIENCE_S, lambda: str(about("RAGDaemonDead", slack)))
        wait_until(lambda: len(heartbeat.bodies) > 1, PATIENCE_S)
    called = {alert["labels"]["alertname"] for body in heartbeat.bodies for alert in body["alerts"]}
    assert called == {WATCHDOG}
    assert about(WATCHDOG, slack) == []
    assert mails(WATCHDOG, mailbox) == []


@needs_both
def test_in_quiet_hours_warnings_wait_and_critical_alerts_do_not(
    place: Place, slack: Receiver, mailbox: Mailbox
) -> None:
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    awake = place.settings.model_copy(update={"rag_timezone": "UTC"})
    place.configure(awake.model_copy(update={"rag_slack_quiet_hours": hours}))
    place.add("RAGIndexStale", "warning")
    place.add("RAGDiskLow", "critical")
    wait_until(lambda: about("RAGDiskLow", slack) and mails("RAGDiskLow", mailbox), PATIENCE_S)
    place.add("RAGDatabaseDown", "critical")  # after which the warning's own wait is long over
    wait_until(lambda: about("RAGDatabaseDown", slack), PATIENCE_S)
    assert about("RAGIndexStale", slack) == []
    assert mails("RAGIndexStale", mailbox) == []
    place.configure(awake)
    wait_until(lambda: about("RAGIndexStale", slack), PATIENCE_S)
    wait_until(lambda: mails("RAGIndexStale", mailbox), PATIENCE_S)
