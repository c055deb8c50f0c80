"""A document corpus with its own inbox, partitions, release scope and filter."""

import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import dagster as dg
from pydantic import BaseModel, Field, field_validator, model_validator

from rag_assets.defs.documents.corpus import corpus_definitions
from rag_assets.documents.sql.corpora import CorpusOptions
from rag_assets.vectors.sql.tables import DOCUMENTS

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN = frozenset({DOCUMENTS, "document", "bible", "both", "verse", "chunk", "corpus"})
"""Names of other corpora, and beginnings of other assets' names."""


class Chunking(dg.Model, dg.Resolvable):
    """How documents are cut up; what is left out is as the settings say."""

    max_chunk_size: Annotated[int | None, Field(None, ge=16, le=8000)]
    chunk_overlap: Annotated[int | None, Field(None, ge=0)]
    chunk_context: bool | None = None

    @model_validator(mode="after")
    def _overlap_is_small(self) -> Self:
        size, overlap = self.max_chunk_size, self.chunk_overlap
        if size is not None and overlap is not None and overlap * 2 > size:
            raise ValueError(f"chunk_overlap ({overlap}) must be at most half of {size}")
        return self


class CorpusParameters(BaseModel):
    """What `dg scaffold defs` asks for."""

    inbox_url: str | None = Field(
        None, description="A folder or a URL that fsspec supports. Default: inbox-NAME."
    )


class DocumentCorpusScaffolder(dg.Scaffolder[CorpusParameters]):
    """Writes the ``defs.yaml`` of a corpus that is named like its folder."""

    @classmethod
    def get_scaffold_params(cls) -> type[CorpusParameters]:
        return CorpusParameters

    def scaffold(self, request: dg.ScaffoldRequest[CorpusParameters]) -> None:
        name = request.target_path.name
        inbox = (request.params and request.params.inbox_url) or f"inbox-{name}"
        attributes: dict[str, Any] = {"name": name, "inbox_url": inbox}
        dg.scaffold_component(request, attributes)


@dg.scaffold_with(DocumentCorpusScaffolder)
class DocumentCorpus(dg.Component, dg.Model, dg.Resolvable):
    """Documents of one inbox: partitions, release scope, filter `corpus` and keys of their own.

    Lanes and their limits, spaces, index and release are shared with the other corpora.
    """

    name: Annotated[str, Field(description="As in `corpus: handbook`: a-z, 0-9 and _.")]
    inbox_url: Annotated[
        str, Field(min_length=1, description="A folder, or a URL that fsspec supports.")
    ]
    chunking: Chunking | None = None
    golden_file: Annotated[
        str | None,
        Field(None, description="Golden queries, which are asked of this corpus alone."),
    ]
    space: Annotated[
        str | None,
        Field(None, description="Refused: corpora share the settings' spaces."),
    ]

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, value: str) -> str:
        if not _NAME.fullmatch(value) or value in _TAKEN:
            raise ValueError(
                f"{value!r} cannot name a corpus: use up to 40 of a-z, 0-9 and _, beginning with a "
                f"letter, and none of {', '.join(sorted(_TAKEN))}"
            )
        return value

    @field_validator("space")
    @classmethod
    def _space_is_shared(cls, value: str | None) -> None:
        if value is not None:
            raise ValueError(
                f"a corpus cannot choose its space ({value!r}): a search embeds its query once "
                "for all. Remove `space`; the settings name the spaces of all"
            )

    @field_validator("inbox_url")
    @classmethod
    def _without_password(cls, value: str) -> str:
        if urlsplit(value).password is not None:
            raise ValueError(
                "inbox_url holds a password, which would be stored in the database: give the "
                "storage its credentials by its own environment variables"
            )
        return value

    @property
    def options(self) -> CorpusOptions:
        """As they are registered for the processes that do not load this."""
        chunking = self.chunking.model_dump() if self.chunking is not None else {}
        return CorpusOptions(self.name, self.inbox_url, golden_file=self.golden_file, **chunking)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        return corpus_definitions(self.options)
