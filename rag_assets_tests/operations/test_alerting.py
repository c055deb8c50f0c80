"""Alertmanager's configuration, generated from the settings."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rag_assets.errors import ConfigurationError
from rag_assets.operations.alerting import HEARTBEAT, OPERATORS, WATCHDOG, alertmanager_config
from rag_assets.settings.model import Settings
from rag_assets_tests.operations.promql import alerts

AMTOOL = shutil.which("amtool")
needs_amtool = pytest.mark.skipif(
    AMTOOL is None, reason="amtool is not here: it comes with Debian's prometheus-alertmanager"
)


def amtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(AMTOOL), *words], capture_output=True, text=True, check=False)


MAIL = {
    "rag_alert_email_to": "on-call@example.org",
    "rag_alert_email_from": "rag@example.org",
    "rag_alert_smtp_host": "smtp.example.org:587",
}


@needs_amtool
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"slack_webhook_url": "https://hooks.example.org/x"},
        MAIL,
        {**MAIL, "rag_alert_smtp_user": "rag", "rag_alert_smtp_password": "x"},
        {"rag_alert_heartbeat_url": "https://ping.example.org/x"},
        {"rag_slack_quiet_hours": "22:00-07:00"},
        {"rag_slack_quiet_hours": "13:00-14:30"},
        {"rag_slack_quiet_hours": "20:00-00:00"},
        {"rag_slack_quiet_hours": "00:00-00:00"},
        {"rag_alert_critical_repeat_h": 0.5, "rag_alert_warning_repeat_h": 0.001},
    ],
    ids=lambda given: ",".join(given) or "nothing",
)
def test_alertmanager_accepts_the_generated_configuration(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    config = alertmanager_config(Settings(**given))
    file = tmp_path / "alertmanager.yml"
    file.write_text(json.dumps(config))
    checked = amtool("check-config", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    operators, heartbeat = config["receivers"]
    assert ("slack_configs" in operators) == ("slack_webhook_url" in given)
    assert ("email_configs" in operators) == ("rag_alert_email_to" in given)
    assert ("webhook_configs" in heartbeat) == ("rag_alert_heartbeat_url" in given)


@needs_amtool
@pytest.mark.parametrize("name", alerts())
def test_each_alert_has_a_receiver_and_only_the_watchdog_goes_to_the_heartbeat(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(json.dumps(alertmanager_config(Settings())))
    labels = (f"alertname={name}", f"severity={alerts()[name]['labels']['severity']}")
    routed = amtool("config", "routes", "test", f"--config.file={file}", *labels)
    assert routed.stdout.strip() == (HEARTBEAT if name == WATCHDOG else OPERATORS)


@pytest.mark.parametrize(
    ("hours", "spans"),
    [
        ("22:00-07:00", [("22:00", "24:00"), ("00:00", "07:00")]),
        ("13:00-14:30", [("13:00", "14:30")]),
        ("20:00-00:00", [("20:00", "24:00")]),
        ("00:00-00:00", [("00:00", "24:00")]),  # always, as for messages of the recovery
    ],
)
def test_quiet_hours_over_midnight_are_two_spans(hours: str, spans: list[tuple[str, str]]) -> None:
    config = alertmanager_config(Settings(rag_slack_quiet_hours=hours, rag_timezone="Asia/Tokyo"))
    ((interval,),) = [one["time_intervals"] for one in config["time_intervals"]]
    assert [(one["start_time"], one["end_time"]) for one in interval["times"]] == spans
    assert interval["location"] == "Asia/Tokyo"
    warnings = config["route"]["routes"][1]
    assert (warnings["matchers"], warnings["mute_time_intervals"]) == (
        ['severity="warning"'],
        ["quiet-hours"],
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"rag_alert_email_to": "a@b.example"},
            "RAG_ALERT_EMAIL_TO is set: set RAG_ALERT_SMTP_HOST and RAG_ALERT_EMAIL_FROM, too",
        ),
        (
            {**MAIL, "rag_alert_email_from": ""},
            "RAG_ALERT_EMAIL_TO is set: set RAG_ALERT_EMAIL_FROM, too",
        ),
        (
            {**MAIL, "rag_alert_email_to": ""},
            "RAG_ALERT_SMTP_HOST is set: set RAG_ALERT_EMAIL_TO, too",
        ),
        ({**MAIL, "rag_alert_smtp_user": "rag"}, "set RAG_ALERT_SMTP_PASSWORD, too"),
        ({**MAIL, "rag_alert_smtp_host": "smtp.example.org"}, "has no port: write it as"),
    ],
)
def test_incomplete_mail_settings_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        alertmanager_config(Settings(**given))
