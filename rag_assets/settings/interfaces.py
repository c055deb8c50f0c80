"""The settings of interfaces: a part of :class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator

RerankApi = Literal["cohere", "jina", "tei"]


class InterfaceSettings(BaseModel):
    """Tools for agents, re-ranking, traces, and what `rag-assets up` listens on."""

    rag_rerank_url: str | None = Field(
        None,
        description="Address of a cross-encoder's `/rerank`, which then re-ranks the hits of "
        "searches, such as `https://api.cohere.com/v2/rerank` or `http://127.0.0.1:8080/rerank`. "
        "Query and passages are sent there.",
    )
    rag_rerank_api: RerankApi = Field(
        "cohere",
        description="Its API: `cohere`, which most servers speak, `jina`, or `tei` "
        "(text-embeddings-inference).",
    )
    rag_rerank_model: str | None = Field(
        None, description="Its model, such as `rerank-v3.5`; `tei` has only one and takes no name."
    )
    rag_rerank_api_key: SecretStr | None = Field(None, description="Its API key, if it needs one.")
    rag_rerank_timeout_s: float = Field(
        1,
        gt=0,
        le=60,
        description="Seconds to wait for its scores; after that, hits keep the order without them.",
    )
    rag_rerank_candidates: int = Field(
        32,
        ge=2,
        le=100,
        description="Hits that it is given; the rest follow in their order. TEI takes 32 unless "
        "it is started with more.",
    )

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

    @field_validator("rag_rerank_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an address such as http://127.0.0.1:8080/rerank")
        return url
