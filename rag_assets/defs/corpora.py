"""The document corpora that are defined here, and those that components add."""

import warnings
from importlib import import_module
from pathlib import Path

import dagster as dg

from rag_assets.defs.documents.component import DocumentCorpus
from rag_assets.defs.documents.corpus import corpus_definitions
from rag_assets.documents.sql.corpora import CorpusOptions
from rag_assets.errors import ConfigurationError
from rag_assets.vectors.sql.tables import DOCUMENTS

COMPONENTS = "rag_assets.defs.components"
"""The one package that is loaded by folder: ``dg scaffold defs`` writes there."""


def corpora_definitions() -> tuple[dg.Definitions, tuple[str, ...]]:
    """What the corpora have of their own, and the corpora's names.

    :raises ConfigurationError: two components have one name.
    """
    with warnings.catch_warnings():  # previews of Dagster's, which is pinned for them
        warnings.filterwarnings("ignore", message=r"Function `load_definitions_from_modules?` is")
        warnings.filterwarnings("ignore", message="`parse_obj_as` is deprecated")
        tree = dg.ComponentTree.from_module(
            defs_module=import_module(COMPONENTS), project_root=Path(__file__).parents[2]
        )
        names = [component.name for component in tree.get_all_components(of_type=DocumentCorpus)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(
                f"two components define the document corpus {', '.join(twice)}: rename one of them"
            )
        added = tree.build_defs()
    own = corpus_definitions(CorpusOptions(DOCUMENTS))
    return dg.Definitions.merge(own, added), (DOCUMENTS, *names)
