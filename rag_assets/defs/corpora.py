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

    Built from the components one by one: what Dagster builds from the folder loads previews of its
    own, and rebuilds the checks by a parameter in beta.

    :raises ConfigurationError: two components have one name.
    """
    tree = dg.ComponentTree.from_module(
        defs_module=import_module(COMPONENTS), project_root=Path(__file__).parents[2]
    )
    with warnings.catch_warnings():  # of Dagster's own, which is pinned
        warnings.filterwarnings("ignore", message="`parse_obj_as` is deprecated")
        warnings.simplefilter("ignore", dg.BetaWarning)
        added = tree.get_all_components(of_type=DocumentCorpus)
    options = [CorpusOptions(DOCUMENTS), *(component.options for component in added)]
    names = tuple(one.corpus for one in options)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(
            f"two components define the document corpus {', '.join(twice)}: rename one of them"
        )
    return dg.Definitions.merge(*map(corpus_definitions, options)), names
