"""One partition per document, named by its key."""

import dagster as dg

DOCUMENTS = "documents"
documents = dg.DynamicPartitionsDefinition(name=DOCUMENTS)
