"""One partition a document; its key is the document's."""

import dagster as dg

DOCUMENTS = "documents"
documents = dg.DynamicPartitionsDefinition(name=DOCUMENTS)
