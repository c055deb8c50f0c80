"""Launchpad options for one run of ``verse_embeddings``."""

from typing import Annotated

from pydantic import Field

from rag_assets.bible.embed_verses import EmbedOptions, Mode
from rag_assets.defs.run_config import RunConfig, within
from rag_assets.errors import ConfigurationError
from rag_assets.vectors.sql.spaces import ROLES, Role


class EmbeddingConfig(RunConfig):
    """Empty fields take the setting's value (see docs/settings.md)."""

    only_missing: bool = Field(
        True, description="Embed verses whose vector is missing or whose text changed."
    )
    overwrite: bool = Field(
        False,
        description="Embed every verse again and pay for all of them; only when the model changed "
        "under its name. Set only_missing to false with it.",
    )
    limit: int | None = Field(
        None, ge=1, description="Embed at most this many verses, from the first one, as a trial."
    )
    batch_size: Annotated[int | None, within("rag_embedding_batch_size")] = Field(
        None,
        description="Texts per request; 64 or 128 suit verses. Setting: "
        "RAG_EMBEDDING_BATCH_SIZE (32).",
    )
    sleep: Annotated[float | None, within("rag_embedding_delay_ms")] = Field(
        None,
        description="Seconds that each worker pauses after a request. Setting: "
        "RAG_EMBEDDING_DELAY_MS (0).",
    )
    max_retries: Annotated[int | None, within("rag_embedding_max_retries")] = Field(
        None,
        description="Retries of transient errors. Setting: RAG_EMBEDDING_MAX_RETRIES (5).",
    )
    timeout: Annotated[float | None, within("rag_embedding_timeout_s")] = Field(
        None,
        description="Seconds to wait for one answer. Setting: RAG_EMBEDDING_TIMEOUT_S (60).",
    )
    small_only: bool = Field(False, description="Only the small space (recall).")
    large_only: bool = Field(False, description="Only the large space (re-ranking).")

    def check(self) -> None:
        """Raise the errors of :meth:`options`."""
        self.options()

    def options(self) -> EmbedOptions:
        """Convert to plain options.

        :raises ConfigurationError: two of them exclude each other.
        """
        if self.overwrite and self.only_missing:
            raise ConfigurationError(
                "overwrite and only_missing exclude each other: to pay for every verse again, "
                "set overwrite: true and only_missing: false"
            )
        if not self.overwrite and not self.only_missing:
            raise ConfigurationError("nothing to do: set either only_missing or overwrite to true")
        if self.small_only and self.large_only:
            raise ConfigurationError("small_only and large_only exclude each other: set one")
        roles: tuple[Role, ...] = ROLES
        if self.small_only or self.large_only:
            roles = ("small",) if self.small_only else ("large",)
        mode: Mode = "overwrite" if self.overwrite else "only_missing"
        return EmbedOptions(
            mode=mode,
            limit=self.limit,
            batch_size=self.batch_size,
            sleep_s=self.sleep,
            max_retries=self.max_retries,
            timeout_s=self.timeout,
            roles=roles,
        )
