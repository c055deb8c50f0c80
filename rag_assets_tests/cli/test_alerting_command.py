"""``rag-assets alertmanager-config``: what it writes, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

from rag_assets_tests.cli.conftest import Run

MAIL = {
    "RAG_ALERT_EMAIL_TO": "on-call@example.org",
    "RAG_ALERT_EMAIL_FROM": "rag@example.org",
    "RAG_ALERT_SMTP_HOST": "smtp.example.org:587",
}


def test_the_command_writes_a_file_for_few_and_says_who_is_notified(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "alerting" / "alertmanager.yml"
    none = run("alertmanager-config", "--output", str(file))
    assert none.status == 0
    assert "alerts go to no receiver, only to Alertmanager's own page: set" in none.err
    assert "heartbeat off" in none.err
    given = MAIL | {
        "SLACK_WEBHOOK_URL": "https://hooks.example.org/hidden-word",
        "RAG_ALERT_HEARTBEAT_URL": "https://ping.example.org/hidden-word",
        "RAG_SLACK_QUIET_HOURS": "22:00-07:00",
    }
    done = run("alertmanager-config", "--output", str(file), **given)
    assert done.err.strip() == (
        "alerts go to Slack and e-mail to on-call@example.org; heartbeat on; warnings are held "
        "back 22:00-07:00 (America/Sao_Paulo)"
    )
    assert done.out == ""
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    printed = run("alertmanager-config", **given)
    assert json.loads(printed.out) == json.loads(file.read_text("utf-8"))
    assert "hidden-word" in printed.out
    refused = run("alertmanager-config", RAG_ALERT_EMAIL_TO="a@b.example")
    assert refused.status == 1
    assert "set RAG_ALERT_SMTP_HOST and RAG_ALERT_EMAIL_FROM, too" in refused.err
