"""The settings of the database and of runs on several machines: a part of
:class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class DatabaseSettings(BaseModel):
    """Where the corpus is kept, and who hands out the work on it."""

    # Database
    rag_database_url: SecretStr | None = Field(
        None,
        description="A PostgreSQL 15+ with pgvector 0.7+; of several hosts, comma-separated, "
        "the one that can be written to. Unset: an embedded server in `RAG_HOME`. The "
        "pipeline holds session locks, so give it a direct connection, not a transaction "
        "pooler.",
    )
    rag_database_password: SecretStr | None = Field(
        None, description="Its password, where `RAG_DATABASE_URL` holds none: for a secret's file."
    )
    rag_database_pooled: bool = Field(
        False,
        description="`RAG_DATABASE_URL` leads through a transaction pooler such as PgBouncer, "
        "where no statement can be prepared: for the API and the exporter only.",
    )
    rag_database_read_url: SecretStr | None = Field(
        None,
        description="A replica (hot standby) of `RAG_DATABASE_URL`, or several, "
        "comma-separated: what the API then searches. Its password is "
        "`RAG_DATABASE_PASSWORD`, where it holds none. See "
        "[deployment.md](deployment.md#read-replicas).",
    )
    rag_database_read_max_lag_s: float = Field(
        30,
        gt=0,
        le=900,
        description="Seconds that the replica may be behind; further behind, the primary is "
        "searched while it is there.",
    )
    rag_database_read_patience_s: int = Field(
        5,
        ge=2,
        description="Seconds without an answer to the API's look, each second, after which replica "
        "or primary count as away; searches under way wait for twice as long.",
    )
    rag_dagster_database: str | None = Field(
        None,
        description="Database for Dagster's own state, on the same server. Created if it is "
        "not there.",
    )
    rag_database_connect_timeout_s: int = Field(
        10, ge=1, description="Seconds to wait for a connection."
    )
    rag_database_silence_s: int = Field(
        30,
        ge=6,
        description="Seconds after which a connection over the network counts as lost, on "
        "either side, when nothing of the other is heard: the locks of a host that is gone "
        "are free then. Through a pooler, only on ours.",
    )

    # Runs on several machines
    rag_celery_broker_url: SecretStr | None = Field(
        None,
        description="Redis that hands runs to the workers, as "
        "`redis://:password@host:6379/0`, or `rediss://…` for TLS. Needs "
        "`deploy/celery/dagster.yaml`. Unset: runs stay on one machine.",
    )
    rag_celery_broker_password: SecretStr | None = Field(
        None,
        description="Its password, where `RAG_CELERY_BROKER_URL` holds none: for a secret's file.",
    )
    rag_celery_timeout_s: float = Field(
        5, gt=0, description="Seconds that Redis has to take a connection, and to answer."
    )
    rag_celery_lost_s: float = Field(
        20,
        ge=5,
        description="Seconds without a sign of life after which a run's worker counts as "
        "lost, at the next look of Dagster's daemon (each 20 s). A run gives one each fifth "
        "of it.",
    )
