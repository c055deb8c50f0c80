"""Launchpad options for one run of ``verse_embeddings``."""

from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import Field

from rag_assets.bible.embed_verses import EmbedOptions, chosen_roles
from rag_assets.defs.run_config import LARGEST, RunConfig, within
from rag_assets.errors import ConfigurationError

Choice = TypeVar("Choice", bound=StrEnum)


class EmbedMode(StrEnum):
    """Which verses a run embeds."""

    only_missing = "only_missing"
    overwrite = "overwrite"


class RequestMode(StrEnum):
    """How texts are requested."""

    live = "live"
    batch = "batch"
    auto = "auto"


class Spaces(StrEnum):
    """Which spaces a run fills."""

    both = "both"
    small = "small"
    large = "large"


class EmbeddingConfig(RunConfig):
    """Empty fields take the setting's value (see docs/settings.md)."""

    mode: EmbedMode = Field(
        EmbedMode.only_missing,
        description="only_missing: verses whose vector is missing or whose text changed. "
        "overwrite: embed every verse again and pay for all of them; only when the model changed "
        "under its name.",
    )
    requests: RequestMode = Field(
        RequestMode.live,
        description="live: now. batch: by the provider's batches, at half the price, within a day; "
        "the run ends, and the sensor embedding_batches follows them. auto: by batch from "
        "RAG_BATCH_MIN_TEXTS (5,000) on, unless overdue.",
    )
    spaces: Spaces = Field(
        Spaces.both, description="both, only the small space (recall), or only the large one."
    )
    limit: int | None = Field(
        None,
        ge=1,
        le=LARGEST,
        description="Embed at most this many verses, from the first one, as a trial.",
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
    only_missing: bool | None = Field(None, description="Earlier name: use mode.")
    overwrite: bool | None = Field(None, description="Earlier name: use mode.")
    small_only: bool | None = Field(None, description="Earlier name: use spaces.")
    large_only: bool | None = Field(None, description="Earlier name: use spaces.")

    def check(self) -> None:
        """Raise the errors of :meth:`options`."""
        self.options()

    def options(self) -> EmbedOptions:
        """Convert to plain options.

        :raises ConfigurationError: two of them exclude each other.
        """
        mode, spaces = self._mode(), self._spaces()
        return EmbedOptions(
            mode=mode.value,
            requests=self.requests.value,
            limit=self.limit,
            batch_size=self.batch_size,
            sleep_s=self.sleep,
            max_retries=self.max_retries,
            timeout_s=self.timeout,
            roles=chosen_roles(
                small_only=spaces is Spaces.small, large_only=spaces is Spaces.large
            ),
        )

    def _mode(self) -> EmbedMode:
        if self.only_missing is None and self.overwrite is None:
            return self.mode
        only_missing = self.only_missing is not False
        if bool(self.overwrite) and only_missing:
            raise ConfigurationError(
                "overwrite and only_missing exclude each other: to pay for every verse again, set "
                "mode: overwrite"
            )
        if not self.overwrite and not only_missing:
            raise ConfigurationError("nothing to do: set either only_missing or overwrite to true")
        return _agreed(
            "mode", self.mode, EmbedMode.overwrite if self.overwrite else EmbedMode.only_missing
        )

    def _spaces(self) -> Spaces:
        if self.small_only is None and self.large_only is None:
            return self.spaces
        roles = chosen_roles(small_only=bool(self.small_only), large_only=bool(self.large_only))
        return _agreed("spaces", self.spaces, Spaces(roles[0]) if len(roles) == 1 else Spaces.both)


def _agreed(name: str, chosen: Choice, earlier: Choice) -> Choice:
    """Return the choice of the earlier fields; the current field must not contradict it."""
    default = EmbeddingConfig.model_fields[name].default
    if chosen not in (default, earlier):
        raise ConfigurationError(f"{name}: {chosen} and the fields of its earlier names disagree")
    return earlier
