"""What a person, or the sensor, can choose for one run of the document lane."""

from pydantic import Field

from rag_assets.defs.run_config import RunConfig
from rag_assets.errors import ConfigurationError
from rag_assets.lanes import DOCUMENT_LANES, PROCESSING


class DocumentsConfig(RunConfig):
    """A run of chosen partitions takes those; any other takes what waits in a lane."""

    lane: str = Field(
        PROCESSING,
        description="The lane to take documents from: rag_processing or rag_large_docs.",
    )
    force: bool = Field(
        False, description="Process the chosen documents even if they are unchanged."
    )

    def check(self) -> None:
        """Refuse an unknown lane: a run of it would find nothing, for ever."""
        if self.lane not in DOCUMENT_LANES:
            raise ConfigurationError(
                f"lane {self.lane!r} is unknown: it is {' or '.join(DOCUMENT_LANES)}"
            )
