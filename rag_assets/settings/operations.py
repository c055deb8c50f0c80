"""The settings of operations: a part of :class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

import re
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class OperationsSettings(BaseModel):
    """When work starts automatically, when problems are detected, and who is notified."""

    # Schedules
    rag_timezone: str = Field(
        "America/Sao_Paulo",
        description="Time zone of windows, times, quiet hours and days.",
    )
    rag_backfill_days: str = Field(
        "sat,sun", description="Days on which the window of the weekend backfill opens."
    )
    rag_backfill_start: str = Field("01:00", description="Time at which it opens, in RAG_TIMEZONE.")
    rag_backfill_hours: float = Field(
        6, gt=0, le=24, description="Hours for which it stays open: no run is started after that."
    )
    rag_bible_runs: int = Field(
        2,
        ge=1,
        description="Concurrent runs that the backfill starts in the lane `rag_bible`; "
        "`dagster.yaml` limits them, too.",
    )
    rag_backfill_budget_usd: float = Field(
        5, ge=0, description="Dollars that one window may spend; versions that do not fit wait."
    )
    rag_backfill_order: str = Field(
        "PT_*,EN_*,*",
        description="Order of the versions: comma-separated patterns; within one, by code.",
    )
    rag_backfill_requests: Literal["live", "batch", "auto"] = Field(
        "auto",
        description="How the backfill embeds a version: `live`, by the provider's `batch` (half "
        "the price, within a day), or `auto`: by batch what is large and can wait, live what is "
        "small or overdue, or where the provider has no batches.",
    )
    rag_index_nightly_at: str = Field(
        "03:30", description="Time of the nightly decision on the indexes, in RAG_TIMEZONE."
    )
    rag_capacity_at: str = Field(
        "23:00", description="Time of a day's capacity record, in RAG_TIMEZONE."
    )

    rag_audit_at: str = Field(
        "05:00", description="Time of the nightly audit of the corpus, in RAG_TIMEZONE."
    )
    rag_audit_repair: bool = Field(
        False, description="The nightly audit also repairs what it finds."
    )
    rag_audit_sample: int = Field(
        20,
        ge=0,
        le=100_000,
        description="Texts of each version, and of the documents, that an audit embeds again to "
        "compare; others each night.",
    )
    rag_audit_budget_usd: float = Field(
        0.05, ge=0, description="Dollars that the sample of one audit may cost."
    )

    # Watching the queue
    rag_stagnation_queue: int = Field(
        50,
        ge=0,
        description="If more documents than this are waiting and none is completed, work counts "
        "as stagnant.",
    )
    rag_stagnation_s: float = Field(
        600,
        gt=0,
        description="Seconds without a completed document after which work counts as stagnant.",
    )
    rag_no_worker_s: float = Field(
        60,
        gt=0,
        description="Seconds for which documents may wait while no run is processing any before "
        "that is reported.",
    )
    rag_slow_document_s: float = Field(
        300,
        gt=0,
        description="Seconds after which a document that delays others in its lane counts as slow.",
    )
    rag_recovery_check_s: float = Field(
        120,
        gt=0,
        description="Seconds after a recovery action within which the queue must move again.",
    )
    rag_recovery_steady_s: float = Field(
        600,
        gt=0,
        description="Seconds for which the queue must have moved before an incident is closed.",
    )
    rag_recovery_max_actions: int = Field(
        10,
        ge=1,
        description="Maximum recovery actions per hour of one kind on one subject; after that, "
        "an operator is notified.",
    )
    rag_throttle_floor: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Minimum share of batch size and concurrency that is kept while the provider "
        "limits the rate.",
    )
    rag_probe_timeout_s: float = Field(
        5, gt=0, description="Seconds that the check of a dependency may take."
    )
    rag_disk_free_gb: float = Field(
        5, ge=0, description="Free space, in GB (1e9 bytes), below which the disk counts as full."
    )
    rag_operations_keep_days: int = Field(
        90, ge=1, description="Days for which samples, attempts and ended runs are kept."
    )
    rag_dagster_keep_days: int = Field(
        90,
        ge=1,
        description="Days for which Dagster keeps ended runs with their events and logs. What a "
        "partition's status, latest metadata or check result comes from is kept longer.",
    )

    # Recall of live searches
    rag_live_recall_share: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of the API's searches that are repeated exactly in the background, for "
        "`rag_live_recall_at_10`. 0: none.",
    )
    rag_live_recall_budget: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Maximum share of the time in which a worker of the API runs such a "
        "repetition, one at a time. Searches beyond that are not repeated.",
    )

    # Notifications
    slack_webhook_url: SecretStr | None = Field(
        None, description="Slack's incoming webhook. Unset: messages stay in the log."
    )
    rag_slack_quiet_hours: str = Field(
        "",
        description="Hours, such as 22:00-07:00 in RAG_TIMEZONE, in which only urgent messages "
        "are sent; the others follow afterwards. Of the "
        "[alerts](operations/alerts.md#who-is-notified) by Slack and e-mail, warnings are held "
        "back. Empty: none.",
    )
    rag_slack_timeout_s: float = Field(
        10,
        gt=0,
        description="Seconds to wait for Slack; a message that it does not accept is sent again.",
    )
    rag_slack_pause_s: float = Field(
        300,
        ge=0,
        description="Maximum pause, in seconds, before Slack is tried again after it accepted no "
        "message; the pauses double up to it. For urgent messages it is a minute.",
    )
    rag_public_url: str = Field(
        "http://127.0.0.1:3000",
        description="Address of Dagster's UI, for links in messages. Unset: that of the UI which "
        "`rag-assets up` runs, else the default.",
    )

    # Alerts, which Prometheus raises and Alertmanager delivers: `rag-assets alertmanager-config`
    rag_alert_email_to: str = Field(
        "", description="Addresses that alerts are mailed to, comma-separated. Empty: no e-mail."
    )
    rag_alert_email_from: str = Field("", description="Sender's address of these e-mails.")
    rag_alert_smtp_host: str = Field(
        "", description="Mail server that sends them, such as smtp.example.org:587."
    )
    rag_alert_smtp_user: str = Field(
        "", description="User name for the mail server. Empty: no login."
    )
    rag_alert_smtp_password: SecretStr | None = Field(
        None, description="Password for `RAG_ALERT_SMTP_USER`."
    )
    rag_alert_smtp_tls: bool = Field(
        True, description="Send mail only through an encrypted connection (STARTTLS)."
    )
    rag_alert_heartbeat_url: SecretStr | None = Field(
        None,
        description="Address of an external service that is called every minute and raises an "
        "alarm when the calls stop: the host, Prometheus or Alertmanager is down. Unset: no "
        "calls.",
    )
    rag_alert_critical_repeat_h: float = Field(
        4,
        gt=0,
        le=96,
        description="Hours after which a critical alert that still fires is sent again.",
    )
    rag_alert_warning_repeat_h: float = Field(
        24, gt=0, le=96, description="Hours after which a warning that still fires is sent again."
    )

    # The exporter
    rag_exporter_host: str = Field(
        "127.0.0.1", description="Address on which `rag-assets exporter` listens."
    )
    rag_exporter_port: int = Field(
        9808, ge=0, le=65535, description="Its port; 0 takes a free one."
    )
    rag_metrics_cache_s: float = Field(
        5, ge=0, description="Seconds for which a scrape's readings of the databases are cached."
    )

    @field_validator("rag_timezone")
    @classmethod
    def _is_a_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                "there is no such time zone: write it like America/Sao_Paulo"
            ) from None
        return value

    @field_validator(
        "rag_backfill_start", "rag_index_nightly_at", "rag_capacity_at", "rag_audit_at"
    )
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        if not _CLOCK.fullmatch(value):
            raise ValueError("write the time like 01:00")
        return value

    @field_validator("rag_backfill_days")
    @classmethod
    def _are_days(cls, value: str) -> str:
        days = [day.strip().lower() for day in value.split(",") if day.strip()]
        if not days or set(days) - set(_DAYS):
            raise ValueError(f"write the days like sat,sun, from {', '.join(_DAYS)}")
        return ",".join(days)

    @model_validator(mode="after")
    def _quiet_hours_are_two_times(self) -> Self:
        if self.rag_slack_quiet_hours:
            begin, _, end = self.rag_slack_quiet_hours.partition("-")
            if not (_CLOCK.fullmatch(begin) and _CLOCK.fullmatch(end)):
                raise ValueError("RAG_SLACK_QUIET_HOURS: write them like 22:00-07:00")
        return self

    def backfill_weekdays(self) -> frozenset[int]:
        """Days on which a window opens; Monday is 0."""
        return frozenset(_DAYS.index(day) for day in self.rag_backfill_days.split(","))
