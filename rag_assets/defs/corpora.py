"""The document corpora that are defined here, and those that components add."""

import warnings
from collections.abc import Iterable
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
_STRUCTURE = "dagster.components.core.defs_module"
"""Where Dagster defines what it makes of folders and files."""


def corpora_definitions() -> tuple[dg.Definitions, tuple[str, ...]]:
    """What the corpora have of their own, and the corpora's names.

    Built from the components one by one: what Dagster builds from the folder loads previews of its
    own, and rebuilds the checks by a parameter in beta.

    :raises ConfigurationError: two components have one name, or there is something else.
    """
    tree = dg.ComponentTree.from_module(
        defs_module=import_module(COMPONENTS), project_root=Path(__file__).parents[2]
    )
    with warnings.catch_warnings():  # of Dagster's own, which is pinned
        warnings.filterwarnings("ignore", message="`parse_obj_as` is deprecated")
        warnings.simplefilter("ignore", dg.BetaWarning)
        added = tree.get_all_components(of_type=DocumentCorpus)
        # Only to find the others: it lists corpora more than once.
        everything = tree.get_all_components(of_type=dg.Component)  # type: ignore[type-abstract]
    _only_corpora(tree.defs_module_path, everything)
    options = [CorpusOptions(DOCUMENTS), *(component.options for component in added)]
    names = tuple(one.corpus for one in options)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(
            f"two components define the document corpus {', '.join(twice)}: rename one of them"
        )
    return dg.Definitions.merge(*map(corpus_definitions, options)), names


def _only_corpora(folder: Path, components: Iterable[dg.Component]) -> None:
    """Refuse what would be left out without a word.

    :raises ConfigurationError: names the first file or component that is no document corpus.
    """
    others = [
        f"a {type(one).__name__}"
        for one in components
        if not isinstance(one, DocumentCorpus) and type(one).__module__ != _STRUCTURE
    ]
    files = (one for one in sorted(folder.rglob("*.py")) if one.name != "__init__.py")
    if found := [*others, *(str(one.relative_to(folder)) for one in files)]:
        raise ConfigurationError(
            f"{folder} holds {found[0]}, which would not be loaded: only DocumentCorpus components "
            "belong there. Move it to a code location of your own"
        )
