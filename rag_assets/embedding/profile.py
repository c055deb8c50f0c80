"""What an OpenAI-compatible server does, as one probe found it, and what the settings override.

Pure. The probe is in :mod:`.providers.probe`; the profile is stored by :mod:`.sql.profiles`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rag_assets.settings.embedding import model_aliases
from rag_assets.settings.model import Settings

_EXTENSION = re.compile(r"\.(gguf|bin|onnx|safetensors|llamafile)$")
_PRECISION = re.compile(r"[-._](q\d\w*|iq\d\w*|fp?16|bf16|fp?32)$")
_SPECIFIC = {"text-embedding-ada-002-v2": "text-embedding-ada-002"}
"""A model that its own provider names otherwise in places."""


@dataclass(frozen=True)
class Overrides:
    """What the settings say about the server; ``None`` leaves it to the probe.

    :param aliases: the model that the server names, by the name that it is requested by.
    """

    dimensions: bool | None = None
    base64: bool | None = None
    indexed: bool | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)

    def label(self, model: str) -> str:
        """What of this a profile is found under; empty where all is left to the probe."""
        set_here = {
            "dimensions": self.dimensions,
            "base64": self.base64,
            "indexed": self.indexed,
            "alias": self.aliases.get(model),
        }
        return ", ".join(f"{name}={value}" for name, value in set_here.items() if value is not None)

    @classmethod
    def of(cls, settings: Settings) -> Overrides:
        """What these settings say."""
        encoding, order = settings.rag_embedding_encoding, settings.rag_embedding_item_order
        return cls(
            dimensions=settings.rag_embedding_send_dimensions,
            base64=None if encoding is None else encoding == "base64",
            indexed=None if order is None else order == "index",
            aliases=model_aliases(settings.rag_embedding_model_aliases),
        )


@dataclass(frozen=True)
class Profile:
    """How a server is spoken to, and what its answers look like, for one space.

    :param dimensions: whether requests carry ``dimensions``.
    :param base64: whether requests ask for ``base64``; otherwise for nothing, which means floats.
    :param model: as the answers name it; ``None`` where they name none.
    :param indexed: whether items carry an ``index``; otherwise their order counts.
    :param largest_batch: texts in one request that the server took.
    :param batch_limited: whether it refused one more.
    :param normalised: whether vectors come with length 1; they are normalised in any case.
    :param reports_usage: whether answers say how many tokens are billed; otherwise the tokens in
        the ledger are an estimate, a quarter of the UTF-8 bytes.
    :param under: :meth:`Overrides.label` of the settings that it was found under.
    """

    dimensions: bool = True
    base64: bool = True
    model: str | None = None
    indexed: bool = True
    largest_batch: int = 1
    batch_limited: bool = False
    normalised: bool = True
    reports_usage: bool = True
    under: str = ""

    def holds(self, overrides: Overrides, model: str, *, batch: int) -> bool:
        """Whether it still says what it has to: for these settings, and batches of this size."""
        tried = self.batch_limited or self.largest_batch >= batch
        return tried and self.under == overrides.label(model)

    def overridden(self, overrides: Overrides) -> Profile:
        """The same with what the settings say."""
        return replace(
            self,
            **{
                name: value
                for name in ("dimensions", "base64", "indexed")
                if (value := getattr(overrides, name)) is not None
            },
        )

    def __str__(self) -> str:
        limit = "at most" if self.batch_limited else "at least"
        return ", ".join(
            (
                "dimensions requested" if self.dimensions else "dimensions not requested",
                "base64" if self.base64 else "floats",
                f"answers as {self.model!r}" if self.model else "answers name no model",
                "items by index" if self.indexed else "items in order",
                f"{limit} {self.largest_batch:,} texts per request",
                "unit vectors" if self.normalised else "vectors normalised here",
                "reports tokens" if self.reports_usage else "tokens are estimated",
            )
        )


def endpoint_of(base_url: str) -> str:
    """A name for an address that gives none of its secrets away."""
    return hashlib.sha256(base_url.rstrip("/").encode()).hexdigest()[:16]


def same_model(requested: str, echoed: str) -> bool:
    """Whether two names differ only as servers are known to write one model's name.

    Letter case, a vendor's prefix, a path, a file's extension and precision, ``:latest``.
    """
    return requested == echoed or _core(requested) == _core(echoed)


def _core(name: str) -> str:
    name = name.strip().lower().replace("\\", "/").rsplit("/", 1)[-1]
    name = _EXTENSION.sub("", name.removesuffix(":latest"))
    return _SPECIFIC.get(name, _PRECISION.sub("", name))
