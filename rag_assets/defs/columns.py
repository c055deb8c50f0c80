"""Columns that assets of several corpora share."""

import dagster as dg

VECTOR_COLUMNS = (
    dg.TableColumn("model_name_small", "text", description="Model of the small vector."),
    dg.TableColumn("dim_small", "integer", description="Dimension of the small vector."),
    dg.TableColumn("embedding_small", "halfvec", description="For recall."),
    dg.TableColumn("model_name_large", "text", description="Model of the large vector."),
    dg.TableColumn("dim_large", "integer", description="Dimension of the large vector."),
    dg.TableColumn("embedding_large", "halfvec", description="For re-ranking."),
)
