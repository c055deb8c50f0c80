"""Options for one run of the document lane."""

from pydantic import Field

from rag_assets.defs.run_config import RunConfig
from rag_assets.errors import ConfigurationError
from rag_assets.lanes import DOCUMENT_LANES, PROCESSING


class DocumentsConfig(RunConfig):
    """A run with selected partitions processes those; any other processes a lane."""

    lane: str = Field(
        PROCESSING,
        description="The lane to process: rag_processing or rag_large_docs.",
    )
    force: bool = Field(
        False, description="Process selected documents again even if they are unchanged."
    )

    def check(self) -> None:
        """Refuse an unknown lane, in which a run would never find anything."""
        if self.lane not in DOCUMENT_LANES:
            raise ConfigurationError(
                f"lane {self.lane!r} is unknown: it is {' or '.join(DOCUMENT_LANES)}"
            )
