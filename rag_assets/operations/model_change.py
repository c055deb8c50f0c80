"""A change of the embedding model: from what is released to what the settings name.

Nothing is recorded of a change while it is made: what is left to do follows from the database, so
that one that was interrupted goes on where it was. Who does it is ``rag-assets space change``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rag_assets.bible.plan import SpacePlan, plan_versions
from rag_assets.documents.sql.queue import unembedded_documents
from rag_assets.errors import ConfigurationError
from rag_assets.index.golden_spaces import GoldenHits
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.servable import may_be_served
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import cost_of, together, usd_per_million_tokens
from rag_assets.vectors.sql.served import Release, active_release
from rag_assets.vectors.sql.spaces import (
    ROLES,
    Role,
    SpaceSpec,
    document_roles,
    find_space,
    space_by_id,
    space_spec,
)


@dataclass(frozen=True)
class ModelChange:
    """What is released, what the settings name, and what is left to embed in between.

    :param versions: that are released, and that policy still lets be served.
    :param served: by role, the spaces of the active release; ``wanted``: those of the settings.
    :param plans: of the versions, in each space.
    :param documents: keys of ready documents without vectors; ``document_tokens``: of their texts,
        once for each space.
    :param cost_usd: of all that is left; ``None`` where a price is not known.
    :param loses_reranking: whether the release has large vectors of documents, and the new space
        would have none: the gate would refuse it.
    """

    release: Release
    versions: tuple[str, ...]
    served: Mapping[Role, SpaceSpec]
    wanted: Mapping[Role, SpaceSpec]
    plans: tuple[SpacePlan, ...]
    documents: tuple[str, ...]
    document_tokens: int
    cost_usd: float | None
    loses_reranking: bool

    @property
    def is_switched(self) -> bool:
        """Whether the active release serves what the settings name."""
        return all(self.wanted[role] == spec for role, spec in self.served.items())

    @property
    def needs_key(self) -> bool:
        """Whether searches need a key after the switch, and did not before."""
        return self.wanted["small"].provider == "openai" != self.served["small"].provider

    @property
    def to_embed(self) -> tuple[str, ...]:
        """The released versions that have not all vectors yet."""
        return tuple(
            dict.fromkeys(plan.version_code for plan in self.plans if plan.rows or plan.texts)
        )


def read_change(
    connection: Connection, settings: Settings, *, warn: Callable[[str], None]
) -> ModelChange:
    """How far the change is.

    :raises ConfigurationError: nothing is released, so that there is nothing to change.
    :raises CorpusError: a released version's files cannot be read.
    """
    release = active_release(connection)
    if release is None:
        raise ConfigurationError(
            "nothing is released, so there is no model to change: set the new model, then embed "
            "and release (docs/bible.md)"
        )
    served: dict[Role, SpaceSpec] = {
        space.role: space_by_id(connection, space.space_id, space.role).spec
        for space in reversed(release.spaces)  # the Bible's, where it has any
    }
    spaces = {role: find_space(connection, settings, role) for role in ROLES}
    wanted = {
        role: space.spec if space else space_spec(settings, role) for role, space in spaces.items()
    }
    servable = may_be_served(connection, settings)
    versions = tuple(code for code in release.versions if code in servable)
    plans = plan_versions(connection, settings, versions, warn=warn) if versions else []
    documents = {
        role: unembedded_documents(connection, spaces[role]) for role in document_roles(settings)
    }
    if wanted["small"] == wanted["large"]:
        documents.pop("large", None)
        plans = [plan for plan in plans if plan.role == "small"]
    costs = [
        cost_of(sum(one.tokens for one in found), usd_per_million_tokens(settings, role))
        for role, found in documents.items()
    ]
    return ModelChange(
        release=release,
        versions=versions,
        served=served,
        wanted=wanted,
        plans=tuple(plans),
        documents=tuple(dict.fromkeys(one.key for found in documents.values() for one in found)),
        document_tokens=sum(one.tokens for found in documents.values() for one in found),
        cost_usd=together([*costs, *(plan.cost_usd for plan in plans)]),
        loses_reranking=wanted["small"] != wanted["large"]
        and "large" not in document_roles(settings)
        and any((one.corpus, one.role) == ("documents", "large") for one in release.spaces),
    )


def check_hits(served: GoldenHits | None, wanted: GoldenHits | None) -> str:
    """Why the new model should not serve, by the same queries; empty where nothing is against it.

    What cannot be asked is for an operator to judge: without golden queries nothing is against it.
    """
    if served is None or wanted is None or wanted.total >= served.total:
        return ""
    return (
        f"the new model answers {wanted.total} of {wanted.asked + wanted.across} golden queries, "
        f"the one that serves {served.total}: nothing is switched. See docs/change-model.md"
    )
