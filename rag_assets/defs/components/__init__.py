"""What a data engineer adds without Python: the one folder that Dagster loads by itself.

``dg scaffold defs rag_assets.defs.components.DocumentCorpus handbook`` makes a folder here, with a
``defs.yaml``. The components' classes are defined elsewhere: modules in here would be loaded, too.
"""

from rag_assets.defs.documents.component import DocumentCorpus

__all__ = ["DocumentCorpus"]
