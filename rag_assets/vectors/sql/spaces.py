"""Embedding spaces: which vectors may be compared with which, and the tables that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.settings.instructions import E5, Instructions, instructions_for, parse
from rag_assets.settings.model import Precision, Settings
from rag_assets.vectors.prices import usd_per_million_tokens

Role = Literal["small", "large"]
ROLES: tuple[Role, ...] = ("small", "large")

OFFLINE_MODEL = "lexical-char-ngrams-v1"
LOCAL_MODEL = "multilingual-e5-small-q4"
"""multilingual-e5-small in 4 bits, which makes vectors of its own."""
_LOCAL_DIMENSIONS = 384


@dataclass(frozen=True)
class SpaceSpec:
    """The identity of a space: vectors with different specs are never compared.

    :param instructions: as :meth:`Instructions.stored` spells them.
    """

    provider: str
    model: str
    dimensions: int
    precision: Precision
    instructions: str = ""

    @property
    def kinds(self) -> Instructions:
        """How the model is given queries and passages."""
        return parse(self.instructions)

    def __str__(self) -> str:
        name = f"{self.provider}/{self.model} {self.precision}({self.dimensions})"
        return f"{name} {self.kinds}" if self.instructions else name


@dataclass(frozen=True)
class Space:
    """A registered space and its role in the current run.

    :param usd_per_million_tokens: ``None`` if the price is unknown.
    """

    space_id: int
    role: Role
    spec: SpaceSpec
    usd_per_million_tokens: float | None

    @property
    def verses_table(self) -> sql.Identifier:
        """The table of published vectors, one row per verse."""
        return sql.Identifier(f"verse_embeddings_s{self.space_id}")

    @property
    def answers_table(self) -> sql.Identifier:
        """The table of paid answers that are not published yet, by text hash."""
        return sql.Identifier(f"answered_texts_s{self.space_id}")

    @property
    def norm_function(self) -> sql.SQL:
        """pgvector's function for the Euclidean norm, whose name depends on the type."""
        return sql.SQL("l2_norm" if self.spec.precision == "halfvec" else "vector_norm")


def space_spec(settings: Settings, role: Role) -> SpaceSpec:
    """The space that the settings select for a role."""
    small = role == "small"
    model = settings.rag_embedding_small_model if small else settings.rag_embedding_large_model
    dimensions = (
        settings.rag_embedding_small_dimensions
        if small
        else settings.rag_embedding_large_dimensions
    )
    instructions = instructions_for(settings.rag_embedding_instructions, model)
    if settings.rag_embedding_provider == "offline":
        model, instructions = OFFLINE_MODEL, Instructions()
    elif settings.rag_embedding_provider == "local":
        model, dimensions, instructions = LOCAL_MODEL, _LOCAL_DIMENSIONS, E5
    return SpaceSpec(
        settings.rag_embedding_provider,
        model,
        dimensions,
        settings.rag_embedding_precision,
        instructions.stored(),
    )


def distinct_roles(settings: Settings, roles: Sequence[Role] = ROLES) -> tuple[Role, ...]:
    """Of these roles, one for each space: a model that plays both roles is embedded once."""
    return tuple({space_spec(settings, role): role for role in reversed(roles)}.values())[::-1]


def document_roles(settings: Settings) -> tuple[Role, ...]:
    """The roles in which documents are embedded: one, if both have the same space."""
    return distinct_roles(settings) if settings.rag_documents_large else ("small",)


def register_space(connection: Connection, settings: Settings, role: Role) -> Space:
    """Create the space's tables if they do not exist.

    Until the first release, the views use this space for its role; after that, releases decide.
    The provider's address is not part of a space: the same model behind a proxy is the same space.
    """
    with connection.transaction():
        found = find_space(connection, settings, role)
        spec = found.spec if found else space_spec(settings, role)
        row = one(
            connection.execute(
                "SELECT create_embedding_space(%s, %s, %s, %s, %s)",
                (spec.provider, spec.model, spec.dimensions, spec.precision, spec.instructions),
            )
        )

        changed = connection.execute(
            """
            INSERT INTO embedding_roles AS r (role, space_id) VALUES (%s, %s)
            ON CONFLICT (role) DO UPDATE SET space_id = EXCLUDED.space_id
             WHERE r.space_id <> EXCLUDED.space_id
               AND NOT EXISTS (SELECT FROM releases WHERE state = 'active')
            """,
            (role, row[0]),
        ).rowcount
        if changed:
            connection.execute("SELECT refresh_embedding_views()")
    return Space(row[0], role, spec, usd_per_million_tokens(settings, role))


def find_space(connection: Connection, settings: Settings, role: Role) -> Space | None:
    """As :func:`register_space` without writing: ``None`` if the space was never used.

    A model whose family wants instructions keeps the space that it has without: a preset that comes
    with a new version of the program must not embed a corpus again. To name them is to ask for it.
    """
    spec = space_spec(settings, role)
    accepted = {spec.instructions}
    if settings.rag_embedding_instructions == "auto" and spec.provider == "openai":
        accepted.add("")
    row = connection.execute(
        """
        SELECT space_id, instructions FROM embedding_spaces
         WHERE (provider, model, dimensions, precision) = (%s, %s, %s, %s)
           AND instructions = ANY(%s)
         ORDER BY instructions = %s DESC LIMIT 1
        """,
        (
            *(spec.provider, spec.model, spec.dimensions, spec.precision),
            *(list(accepted), spec.instructions),
        ),
    ).fetchone()
    if row is None:
        return None
    spec = replace(spec, instructions=row[1])
    return Space(row[0], role, spec, usd_per_million_tokens(settings, role))


def space_by_id(connection: Connection, space_id: int, role: Role) -> Space:
    """A registered space, whatever the settings select; without its price.

    :raises LookupError: there is none with this number.
    """
    found = fetch_all(
        connection,
        SpaceSpec,
        """
        SELECT provider, model, dimensions, precision, instructions FROM embedding_spaces
         WHERE space_id = %s
        """,
        (space_id,),
    )
    if not found:
        raise LookupError(f"there is no embedding space {space_id}")
    return Space(space_id, role, found[0], None)


def all_spaces(connection: Connection) -> tuple[Space, ...]:
    """All spaces, whatever their role."""
    rows = connection.execute("SELECT space_id FROM embedding_spaces ORDER BY space_id").fetchall()
    return tuple(space_by_id(connection, row[0], "small") for row in rows)


def dropped_spaces(connection: Connection) -> frozenset[int]:
    """Those whose vectors were dropped, and that nothing was embedded in since."""
    rows = connection.execute("SELECT space_id FROM embedding_spaces WHERE dropped_at IS NOT NULL")
    return frozenset(row[0] for row in rows)


def mark_dropped(connection: Connection, space: Space) -> None:
    """From now on no release that searches the space can be activated."""
    connection.execute(
        "UPDATE embedding_spaces SET dropped_at = now() WHERE space_id = %s", (space.space_id,)
    )


def forget_vectors(connection: Connection, space: Space) -> None:
    """Delete all vectors of a space, those of its queries included. What they cost stays known."""
    for name in ("verse_embeddings_s", "chunk_embeddings_s", "answered_texts_s"):
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(f"{name}{space.space_id}")))
    connection.execute("DELETE FROM query_embeddings WHERE space_id = %s", (space.space_id,))
