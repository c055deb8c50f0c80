"""The settings of the database and of runs on several machines: a part of
:class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class DatabaseSettings(BaseModel):
    """Where the corpus is stored, and how runs reach other machines."""

    # Database
    rag_database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL 15+ with pgvector 0.7+. If it lists several hosts, "
        "comma-separated, the one that accepts writes is used. Unset: an embedded server in "
        "`RAG_HOME`. The pipeline holds session locks, so give it a direct connection, not a "
        "transaction pooler.",
    )
    rag_database_password: SecretStr | None = Field(
        None, description="Its password, if `RAG_DATABASE_URL` has none: for a secret's file."
    )
    rag_database_pooled: bool = Field(
        False,
        description="`RAG_DATABASE_URL` leads through a transaction pooler such as PgBouncer, so "
        "no statement can be prepared. Only for the API and the exporter.",
    )
    rag_database_read_url: SecretStr | None = Field(
        None,
        description="A replica (hot standby) of `RAG_DATABASE_URL`, or several, comma-separated, "
        "which the API searches instead. Its password is `RAG_DATABASE_PASSWORD` if the URL has "
        "none. See [deployment.md](deployment.md#read-replicas).",
    )
    rag_database_read_max_lag_s: float = Field(
        30,
        gt=0,
        le=900,
        description="Maximum lag of the replica, in seconds. Beyond it, the primary is searched "
        "if it is reachable.",
    )
    rag_database_read_patience_s: int = Field(
        5,
        ge=2,
        description="Seconds without an answer to the API's check (one per second) after which "
        "replica or primary count as unreachable; searches in progress wait twice as long.",
    )
    rag_dagster_database: str | None = Field(
        None,
        description="Database for Dagster's own state, on the same server. Created if it does "
        "not exist.",
    )
    rag_database_connect_timeout_s: int = Field(
        10, ge=1, description="Seconds to wait for a connection."
    )
    rag_database_silence_s: int = Field(
        30,
        ge=6,
        description="Seconds without any traffic after which a connection over the network "
        "counts as lost, on either side, so that the locks of a lost host are released. Through "
        "a pooler, only on ours.",
    )

    # Runs on several machines
    rag_celery_broker_url: SecretStr | None = Field(
        None,
        description="Redis that passes runs to the workers, such as "
        "`redis://:password@host:6379/0`, or `rediss://…` for TLS. Needs "
        "`deploy/celery/dagster.yaml`. Unset: runs stay on one machine.",
    )
    rag_celery_broker_password: SecretStr | None = Field(
        None,
        description="Its password, if `RAG_CELERY_BROKER_URL` has none: for a secret's file.",
    )
    rag_celery_timeout_s: float = Field(
        5, gt=0, description="Seconds to wait for Redis to accept a connection, and to answer."
    )
    rag_celery_lost_s: float = Field(
        20,
        ge=5,
        description="Seconds without a heartbeat after which a run's worker counts as lost, at "
        "the next check of Dagster's daemon (every 20 s). A run sends one every fifth of this "
        "time.",
    )
