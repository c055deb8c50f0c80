"""What a person, or the sensor, can choose for one run of the document lane."""

import dagster as dg
from pydantic import Field


class DocumentsConfig(dg.Config):
    """A run of chosen partitions takes those; any other takes what waits in a lane."""

    lane: str = Field(
        "rag_processing",
        description="Whose queue to take documents from: rag_processing, or rag_large_docs.",
    )
    force: bool = Field(
        False, description="Process chosen documents again, also those that are unchanged."
    )
