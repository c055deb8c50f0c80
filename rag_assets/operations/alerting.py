"""Build Alertmanager's configuration from the settings. Pure.

Prometheus and Alertmanager report what the recovery cannot: the death of the daemon that runs it.
The receivers are the same in every deployment. The configuration is JSON, which is valid YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import Settings

WATCHDOG = "RAGWatchdog"
"""An alert that always fires: an external service notices when it stops arriving."""
OPERATORS = "operators"
HEARTBEAT = "heartbeat"
QUIET_HOURS = "quiet-hours"
_HEARTBEAT_INTERVAL = "1m"
# Alertmanager checks repeat_interval once per group_interval. If both had the same length, a repeat
# would occasionally be missed by milliseconds.
_HEARTBEAT_REPEAT = "30s"
_SLACK_TEXT = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n"
    "First: `{{ .Annotations.first_command }}`, then {{ .Annotations.runbook_url }}\n{{ end }}"
)


def alertmanager_config(settings: Settings) -> dict[str, Any]:
    """Return routes, receivers and quiet hours. Contains secrets: restrict access to the file.

    A receiver without settings is empty. Without Slack and e-mail, alerts are only shown in
    Alertmanager.

    :raises ConfigurationError: the e-mail settings are incomplete.
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
    """Describe the configured channels, for messages: Slack, e-mail."""
    channels = []
    if settings.slack_webhook_url is not None:
        channels.append("Slack")
    if settings.rag_alert_email_to:
        channels.append(f"e-mail to {settings.rag_alert_email_to}")
    return tuple(channels)


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
    """Split ``22:00-07:00`` at midnight: Alertmanager's ranges do not cross it."""
    begin, end = quiet_hours.split("-")
    spans = [(begin, end)] if begin < end else [(begin, "24:00"), ("00:00", end)]
    return [{"start_time": one, "end_time": other} for one, other in spans if one != other]


def _minutes(hours: float) -> str:
    return f"{max(1, round(hours * 60))}m"


def _value(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
