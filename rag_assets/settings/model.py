"""All settings: the only place that reads the environment, ``.env`` and secrets.

A field's name in upper case is its environment variable. ``docs/settings.md`` lists them all, which
a test checks.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from rag_assets.errors import ConfigurationError
from rag_assets.secrecy import register_address, register_keys, register_passwords
from rag_assets.settings.database import DatabaseSettings
from rag_assets.settings.documents import DocumentSettings
from rag_assets.settings.embedding import EmbeddingSettings
from rag_assets.settings.index import IndexSettings
from rag_assets.settings.interfaces import InterfaceSettings
from rag_assets.settings.operations import OperationsSettings
from rag_assets.visible import reworded

Precision = Literal["vector", "halfvec"]
_SECRETS = "/run/secrets"
"""Where containers find secrets: one file per setting, with its name in lower case."""


class _FilledSecrets(SecretsSettingsSource):
    """Secrets' files. An empty file counts as unset, like an empty variable."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if value != ""}


class Settings(
    DatabaseSettings,
    DocumentSettings,
    EmbeddingSettings,
    IndexSettings,
    InterfaceSettings,
    OperationsSettings,
    BaseSettings,
):
    """Read from the environment, then from ``.env`` in the working directory, then from secrets."""

    # Compose files and CI pass unset variables as empty strings.
    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    # Folders
    rag_home: Path = Field(
        Path(".rag"),
        description="Folder for the embedded PostgreSQL and Dagster's files. Ignored by git.",
    )
    rag_bibles_dir: Path = Field(
        Path("bibles"),
        description="Folder with one sub-folder per Bible version; the sensor watches it.",
    )

    rag_bible_settle_s: float = Field(
        5,
        ge=0,
        description="Seconds without a change after which the sensor takes a version's folder, "
        "so that a folder that is still being copied is not.",
    )
    rag_bible_auto_embed: bool = Field(
        True,
        description="The sensor embeds a new or changed version when it is loaded; `false` "
        "leaves embedding, which costs tokens, to schedules and operators.",
    )
    rag_bible_max_mb: int = Field(
        100,
        ge=1,
        description="Maximum total size of a version's files, in MB; a larger version is refused.",
    )
    rag_bible_memory_mb: int = Field(
        512,
        ge=64,
        description="Memory, in MB, of the child process that reads a version. If a version "
        "needs more, only that process is ended.",
    )
    rag_bible_timeout_s: float = Field(
        300, gt=0, description="Seconds that reading one version may take."
    )

    # Embedding: models
    rag_embedding_precision: Precision = Field(
        "halfvec",
        description="Type of a component: `vector` (4 bytes) or `halfvec` (2 bytes). Another "
        "precision is another space.",
    )

    # Embedding: provider
    openai_base_url: str = Field(
        "https://api.openai.com/v1", description="Address of the OpenAI-compatible server."
    )
    openai_api_key: SecretStr | None = Field(
        None,
        description="The API key. Without one, and without `RAG_EMBEDDING_PROVIDER=offline`, "
        "embedding fails with a message that says so.",
    )
    openai_api_keys: SecretStr | None = Field(
        None,
        description="Several keys, comma-separated; used if `USE_API_KEY_ROTATION` is true. Keys "
        "of one organisation share its limits: they add no capacity.",
    )
    use_api_key_rotation: bool = Field(
        False,
        description="Use the keys of `OPENAI_API_KEYS` in turn; a rate-limited key rests while "
        "the others are used, and a key out of quota is left out with a warning.",
    )

    # Embedding: rates, time-outs, costs
    rag_embedding_batch_size: int = Field(
        32,
        ge=1,
        le=2048,
        description="Texts per request (the provider allows 2,048); 64 or 128 suit verses.",
    )
    rag_embedding_concurrency: int = Field(
        3, ge=1, le=64, description="Concurrent requests of each run."
    )
    rag_embedding_rate_limit: int = Field(
        1000, ge=1, description="Requests per minute, over all processes and hosts."
    )
    rag_embedding_token_limit: int = Field(
        1_000_000, ge=1, description="Tokens per minute, over all processes and hosts."
    )
    rag_embedding_delay_ms: int = Field(
        0, ge=0, description="Pause of each worker after a request, in milliseconds."
    )
    rag_embedding_max_retries: int = Field(
        5,
        ge=0,
        le=20,
        description="Retries of a request after a transient error (time-outs, 5xx, lost "
        "connections).",
    )
    rag_embedding_timeout_s: float = Field(
        60, gt=0, description="Seconds to wait for the answer to one request."
    )
    rag_embedding_max_wait_s: float = Field(
        900,
        ge=0,
        description="Seconds for which a run may wait without interruption while every key is "
        "rate limited. A 429 does not count as a retry.",
    )
    rag_embedding_max_rejected: int = Field(
        100,
        ge=0,
        description="Number of refused texts at which a run stops: the fault is then not in "
        "single texts.",
    )
    rag_embedding_small_usd_per_million_tokens: float | None = Field(
        None,
        ge=0,
        description="Price of the small model, in dollars per million tokens. Unset: OpenAI's "
        "list price for its models (0.02 for text-embedding-3-small); any other model costs "
        "nothing if `OPENAI_BASE_URL` is this machine (`localhost`), and otherwise its price is "
        "unknown.",
    )
    rag_embedding_large_usd_per_million_tokens: float | None = Field(
        None,
        ge=0,
        description="Price of the large model, likewise (0.13 for text-embedding-3-large).",
    )
    rag_max_run_cost_usd: float | None = Field(
        None, ge=0, description="A run that is estimated to cost more does not start."
    )

    # The retrieval API
    rag_api_host: str = Field(
        "127.0.0.1",
        description="Address on which the API listens. While no API key exists, it must be a "
        "loopback address.",
    )
    rag_api_port: int = Field(8000, ge=0, le=65535, description="Its port; 0 takes a free one.")
    rag_api_workers: int = Field(
        1, ge=1, le=64, description="Number of processes that answer requests."
    )
    rag_api_pool_size: int = Field(
        8, ge=1, description="Database connections of each worker: its concurrent searches."
    )
    rag_api_pool_wait_s: float = Field(
        2,
        gt=0,
        description="Seconds that a request waits for a connection before it is answered 503.",
    )
    rag_api_statement_timeout_ms: int = Field(
        2000, ge=1, description="Milliseconds after which the database cancels a search."
    )
    rag_api_body_limit_kb: int = Field(
        1024, ge=1, description="Maximum body of a request, in kB; a larger one is answered 413."
    )
    rag_api_body_timeout_s: float = Field(
        10, gt=0, description="Seconds in which a request's body must have arrived."
    )
    rag_api_bodies_mb: int = Field(
        32,
        ge=1,
        description="Memory of each worker, in MB, for the bodies of all its requests, beyond "
        "the first 64 kB of each; a request that does not fit is answered 503.",
    )
    rag_api_connections: int = Field(
        1000,
        ge=10,
        description="Maximum connections of each worker, at most three quarters of its limit of "
        "open files. Beyond it, the least recently active connection is closed.",
    )
    rag_api_head_timeout_s: float = Field(
        10,
        gt=0,
        description="Seconds in which a request's head must have arrived, and for which a client "
        "may leave its answer unread.",
    )
    rag_api_upload_timeout_s: float = Field(
        300,
        gt=0,
        description="Seconds in which an uploaded document must have arrived; each part of it "
        "must arrive within `RAG_API_BODY_TIMEOUT_S`.",
    )
    rag_api_requests_per_minute: int = Field(
        600, ge=1, description="Rate of a new API key, over all workers."
    )
    rag_api_burst: int = Field(
        60, ge=1, description="Requests that a key may send at once before its rate applies."
    )
    rag_api_key_cache_s: float = Field(
        5,
        ge=0,
        description="Seconds for which a worker caches a key; a revoked key is accepted that long.",
    )
    rag_api_shutdown_s: int = Field(
        30,
        ge=0,
        description="Seconds that requests in flight have to complete when the API is stopped.",
    )
    rag_query_timeout_s: float = Field(
        10, gt=0, description="Seconds to wait for the provider to embed a query."
    )
    rag_query_cache_size: int = Field(
        2000, ge=0, description="Embedded queries that each worker caches in memory (6 kB each)."
    )
    rag_query_cache_rows: int = Field(
        100_000,
        ge=0,
        description="Embedded queries that are cached in PostgreSQL, for all workers.",
    )
    rag_query_cache_max_age_h: float = Field(
        720, gt=0, description="Hours after which a query is embedded again."
    )
    rag_log_format: Literal["text", "json"] = Field(
        "text", description="Format of the API's log lines: `text` or `json`."
    )
    rag_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Minimum level that the API logs. `DEBUG` includes health checks."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources; the first one that has a value wins."""
        assert isinstance(file_secret_settings, SecretsSettingsSource)  # noqa: S101
        files = _FilledSecrets(settings_cls, file_secret_settings.secrets_dir)
        return init_settings, env_settings, dotenv_settings, files

    @field_validator("rag_golden_queries", mode="before")
    @classmethod
    def _none_is_no_file(cls, value: object) -> object:
        return None if isinstance(value, str) and value.lower() == "none" else value

    @model_validator(mode="after")
    def _secrets_are_masked(self) -> Self:
        def given(*fields: SecretStr | None) -> list[str]:
            return [field.get_secret_value() for field in fields if field]

        lists = given(
            self.openai_api_key, self.openai_api_keys, self.rag_mcp_api_key, self.rag_rerank_api_key
        )
        register_keys(key.strip() for keys in lists for key in keys.split(","))
        register_passwords(given(self.rag_database_password, self.rag_celery_broker_password))
        urls = given(self.rag_database_url, self.rag_database_read_url, self.rag_celery_broker_url)
        for address in urls:
            register_address(address)
        # A gateway may take its key in the query; Azure's version there is no secret.
        versioned = "api-version=" in self.openai_base_url
        register_address(self.openai_base_url, parameters=not versioned)
        register_address(self.rag_documents_url, parameters=True)
        register_address(self.rag_otlp_endpoint or "", parameters=True)
        register_address(self.rag_rerank_url or "", parameters=True)
        for webhook in given(self.slack_webhook_url):
            register_passwords(webhook.split("/")[3:])
        return self

    def allowed_versions(self) -> frozenset[str]:
        """The codes in RAG_ALLOWED_VERSIONS; empty if every version is allowed."""
        codes = self.rag_allowed_versions.split(",")
        return frozenset(code.strip() for code in codes if code.strip())

    def api_keys(self) -> tuple[str, ...]:
        """The keys in use, in the order given.

        :raises ConfigurationError: one of them cannot be a key.
        """
        given = self.openai_api_keys if self.use_api_key_rotation else self.openai_api_key
        text = given.get_secret_value() if given else ""
        listed = text.split(",") if self.use_api_key_rotation else [text]
        keys = tuple(dict.fromkeys(key.strip() for key in listed if key.strip()))
        for place, key in enumerate(keys, start=1):
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise ConfigurationError(
                    f"API key {place} of {len(keys)} has characters that no key has: copy it again"
                )
        return keys


def load_settings(**overrides: object) -> Settings:
    """Read the settings.

    :raises ConfigurationError: naming each invalid variable and the reason, never its value, which
        may be a secret.
    """
    secrets = Path(os.environ.get("RAG_SECRETS_DIR") or _SECRETS)
    folder = {"_secrets_dir": secrets} if secrets.is_dir() else {}
    try:
        return Settings(**folder, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']).upper() or 'settings'}: "
            f"{reworded(fault['msg'])}"
            for fault in error.errors(include_input=False, include_url=False)
        )
    raise ConfigurationError(f"invalid settings: {faults}. See docs/settings.md")


@dataclass(frozen=True)
class Bounds:
    """The bounds of a number, as ``pydantic.Field`` takes them; ``None`` for no bound."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None


def bounds(setting: str) -> Bounds:
    """The bounds of a numeric setting, for options and run configurations that replace it."""
    found = {
        field.name: getattr(rule, field.name)
        for rule in Settings.model_fields[setting].metadata
        for field in fields(Bounds)
        if hasattr(rule, field.name)
    }
    return Bounds(**found)


def refuse_contradictions() -> None:
    """Refuse settings that have different values in the environment and in ``.env``.

    Here the environment wins, but Dagster lets ``.env`` replace its own processes' environment.

    :raises ConfigurationError: naming them.
    """
    written = dotenv_values(".env")
    names = [
        name
        for name in (field.upper() for field in Settings.model_fields)
        if os.environ.get(name) and written.get(name) and os.environ[name] != written[name]
    ]
    if names:
        raise ConfigurationError(
            f"{', '.join(names)}: the environment and .env have different values, and in Dagster's "
            "processes .env wins: change .env, or unset the variable"
        )


def fingerprint(api_key: str) -> str:
    """First 8 hex digits of the key's SHA-256, which identify a key without showing it."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:8]
