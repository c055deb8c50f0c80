"""The provider of embeddings and how it is asked: a part of
:class:`rag_assets.settings.model.Settings`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from rag_assets.settings.instructions import instructions_for


def model_aliases(setting: str) -> dict[str, str]:
    """The model that a server names, by the one that is requested.

    :raises ValueError: one is not of the form ``requested=answered``.
    """
    aliases = {}
    for pair in filter(None, map(str.strip, setting.split(","))):
        requested, sign, answered = (part.strip() for part in pair.partition("="))
        if not (requested and sign and answered):
            raise ValueError(f"{pair!r} is not of the form requested=answered")
        aliases[requested] = answered
    return aliases


class EmbeddingSettings(BaseModel):
    """Which embedder, and how it is given texts."""

    rag_embedding_provider: Literal["openai", "local", "offline"] = Field(
        "openai",
        description="`openai`: any OpenAI-compatible server. `local`: multilingual-e5-small in a "
        "child process, without key or cost, by the extra `rag-assets[local]`; its model, "
        "dimensions (384) and instructions are fixed. `offline`: a lexical embedder in this "
        "process, without key or cost; it matches words and their parts, not meaning.",
    )
    rag_embedding_small_model: str = Field(
        "text-embedding-3-small", description="Model of the small space (recall)."
    )
    rag_embedding_small_dimensions: int = Field(
        1536, ge=1, le=4000, description="Its dimensions (`dim_small`)."
    )
    rag_embedding_large_model: str = Field(
        "text-embedding-3-large", description="Model of the large space (re-ranking)."
    )
    rag_embedding_large_dimensions: int = Field(
        3072, ge=1, le=4000, description="Its dimensions (`dim_large`)."
    )
    rag_embedding_instructions: str = Field(
        "auto",
        description="How queries and passages are distinguished: a preset (`e5`, `e5-instruct`, "
        "`nomic`, `gemini`: prefixes of the text; `voyage`, `cohere`: the field `input_type` of "
        "the request; `none`), or JSON with `query`, `passage` and, for a field of the request, "
        "`field`. `auto` takes the preset of the model's family, unless the model has a space "
        "without already. Other instructions are another space.",
    )
    rag_embedding_send_dimensions: bool | None = Field(
        None,
        description="Whether requests carry `dimensions`. Unset: as the probe of the server finds.",
    )
    rag_embedding_encoding: Literal["base64", "float"] | None = Field(
        None,
        description="How vectors are requested: `base64` or `float`. Unset: as the probe finds.",
    )
    rag_embedding_item_order: Literal["index", "position"] | None = Field(
        None,
        description="How vectors are matched to texts: by the items' `index`, or by their "
        "`position`. Unset: as the probe finds.",
    )
    rag_embedding_model_aliases: str = Field(
        "",
        description="Models that a server names otherwise in its answers, as "
        "`requested=answered`, comma-separated: deployments, aliases, file names.",
    )

    rag_batch_min_texts: int = Field(
        5_000,
        ge=1,
        description="`auto` embeds by the provider's batch from this many texts on; fewer are "
        "embedded live.",
    )
    rag_batch_enqueued_tokens: int = Field(
        3_000_000,
        ge=1,
        description="Tokens that may be in batches of one key at the provider at a time, by its "
        "account's limits; more batches wait.",
    )

    @field_validator("rag_embedding_instructions")
    @classmethod
    def _instructions_make_sense(cls, value: str) -> str:
        instructions_for(value, "")
        return value

    @field_validator("rag_embedding_model_aliases")
    @classmethod
    def _aliases_are_pairs(cls, value: str) -> str:
        model_aliases(value)
        return value

    def needs_key(self) -> bool:
        """Whether the provider is another's: it has keys and limits, and may cost something."""
        return self.rag_embedding_provider == "openai"
