"""One partition per document, named by its key, in the partitions of its corpus."""

import dagster as dg

from rag_assets.vectors.sql.tables import DOCUMENTS


def partitions_for(corpus: str) -> dg.DynamicPartitionsDefinition:
    """The partitions of a document corpus, which have its name."""
    return dg.DynamicPartitionsDefinition(name=corpus)


documents = partitions_for(DOCUMENTS)

__all__ = ["DOCUMENTS", "documents", "partitions_for"]
