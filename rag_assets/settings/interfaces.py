"""The settings of interfaces: a part of :class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class InterfaceSettings(BaseModel):
    """Tools for agents, traces, and what `rag-assets up` listens on."""

    rag_mcp_api_key: SecretStr | None = Field(
        None,
        description="API key with which `rag-assets mcp` reads; needed where the API needs one.",
    )
    rag_otlp_endpoint: str | None = Field(
        None,
        description="Address of an OpenTelemetry collector (OTLP over HTTP), such as "
        "`http://127.0.0.1:4318`, to which traces are sent. Needs the extra `telemetry`.",
    )
    rag_ui_port: int = Field(
        3000,
        ge=0,
        le=65535,
        description="Port of Dagster's UI that `rag-assets up` starts; 0 takes a free one.",
    )
