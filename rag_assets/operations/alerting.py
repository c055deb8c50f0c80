"""Alertmanager's configuration, made from the settings. Pure.

Prometheus and Alertmanager deliver what the recovery cannot: that the daemon which runs it is dead.
Who is notified is said once, in the settings, and holds for compose, a host of one's own and a
cluster. The configuration is JSON, which is YAML, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import Settings

WATCHDOG = "RAGWatchdog"
"""The alert that always fires: when an outside service no longer receives it, something is dead."""
OPERATORS = "operators"
HEARTBEAT = "heartbeat"
QUIET_HOURS = "quiet-hours"
_HEARTBEAT_INTERVAL = "1m"
# Alertmanager asks whether to repeat at each group_interval: a repeat_interval of the same length
# would now and then be missed by milliseconds.
_HEARTBEAT_REPEAT = "30s"
_SLACK_TEXT = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n"
    "First: `{{ .Annotations.first_command }}`, then {{ .Annotations.runbook_url }}\n{{ end }}"
)


def alertmanager_config(settings: Settings) -> dict[str, Any]:
    """Routes, receivers and quiet hours. It holds secrets: for a file that few may read.

    A receiver without settings is empty. Without Slack and e-mail, Alertmanager only shows what
    fires.

    :raises ConfigurationError: the settings of e-mail are not complete.
    """
    warnings: dict[str, Any] = {
        "matchers": ['severity="warning"'],
        "receiver": OPERATORS,
        "repeat_interval": _minutes(settings.rag_alert_warning_repeat_h),
    }
    config: dict[str, Any] = {
        "route": {
            "receiver": OPERATORS,
            "group_by": ["alertname"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": _minutes(settings.rag_alert_critical_repeat_h),
            "routes": [
                {
                    "matchers": [f'alertname="{WATCHDOG}"'],
                    "receiver": HEARTBEAT,
                    "group_wait": "0s",
                    "group_interval": _HEARTBEAT_INTERVAL,
                    "repeat_interval": _HEARTBEAT_REPEAT,
                },
                warnings,
            ],
        },
        "receivers": [_operators(settings), _heartbeat(settings)],
    }
    if settings.rag_slack_quiet_hours:
        warnings["mute_time_intervals"] = [QUIET_HOURS]
        interval = {
            "times": _times(settings.rag_slack_quiet_hours),
            "location": settings.rag_timezone,
        }
        config["time_intervals"] = [{"name": QUIET_HOURS, "time_intervals": [interval]}]
    return config


def delivered_by(settings: Settings) -> tuple[str, ...]:
    """How alerts reach people, for messages: Slack, e-mail."""
    ways = []
    if settings.slack_webhook_url is not None:
        ways.append("Slack")
    if settings.rag_alert_email_to:
        ways.append(f"e-mail to {settings.rag_alert_email_to}")
    return tuple(ways)


def _operators(settings: Settings) -> dict[str, Any]:
    receiver: dict[str, Any] = {"name": OPERATORS}
    if settings.slack_webhook_url is not None:
        receiver["slack_configs"] = [
            {
                "api_url": _value(settings.slack_webhook_url),
                "send_resolved": True,
                "title_link": settings.rag_public_url,
                "text": _SLACK_TEXT,
            }
        ]
    if settings.rag_alert_email_to:
        receiver["email_configs"] = [_email(settings)]
    elif settings.rag_alert_smtp_host:
        raise ConfigurationError("RAG_ALERT_SMTP_HOST is set: set RAG_ALERT_EMAIL_TO, too")
    return receiver


def _email(settings: Settings) -> dict[str, Any]:
    needed = {
        "RAG_ALERT_SMTP_HOST": settings.rag_alert_smtp_host,
        "RAG_ALERT_EMAIL_FROM": settings.rag_alert_email_from,
    }
    if settings.rag_alert_smtp_user:
        needed["RAG_ALERT_SMTP_PASSWORD"] = _value(settings.rag_alert_smtp_password)
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise ConfigurationError(f"RAG_ALERT_EMAIL_TO is set: set {' and '.join(missing)}, too")
    if ":" not in settings.rag_alert_smtp_host:
        raise ConfigurationError(
            "RAG_ALERT_SMTP_HOST has no port: write it as smtp.example.org:587"
        )
    email: dict[str, Any] = {
        "to": settings.rag_alert_email_to,
        "from": settings.rag_alert_email_from,
        "smarthost": settings.rag_alert_smtp_host,
        "require_tls": settings.rag_alert_smtp_tls,
        "send_resolved": True,
    }
    if settings.rag_alert_smtp_user:
        email["auth_username"] = settings.rag_alert_smtp_user
        email["auth_password"] = _value(settings.rag_alert_smtp_password)
    return email


def _heartbeat(settings: Settings) -> dict[str, Any]:
    if settings.rag_alert_heartbeat_url is None:
        return {"name": HEARTBEAT}
    url = _value(settings.rag_alert_heartbeat_url)
    return {
        "name": HEARTBEAT,
        "webhook_configs": [{"url": url, "send_resolved": False, "max_alerts": 1}],
    }


def _times(quiet_hours: str) -> Sequence[Mapping[str, str]]:
    """``22:00-07:00`` as spans within a day, which is all that Alertmanager knows."""
    begin, end = quiet_hours.split("-")
    spans = [(begin, end)] if begin < end else [(begin, "24:00"), ("00:00", end)]
    return [{"start_time": one, "end_time": other} for one, other in spans if one != other]


def _minutes(hours: float) -> str:
    return f"{max(1, round(hours * 60))}m"


def _value(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
