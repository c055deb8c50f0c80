"""``rag-assets provider``: what the embedding servers do, as a probe found it."""

from __future__ import annotations

from typing import Annotated

import typer

from rag_assets.cli.opening import corpus_connection
from rag_assets.cli.output import Json, errors_as_sentences, out, plain, show_json, show_pairs
from rag_assets.embedding.embedder import Probed, ProbedEmbedder, open_embedder
from rag_assets.embedding.sql.profiles import profile_in_use, store_profile
from rag_assets.errors import ConfigurationError
from rag_assets.interrupts import run_async
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import ROLES, Role, find_space, register_space, space_spec


def provider(
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Probe the servers now: a request or a few, some tokens."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the protocol and limits used with the embedding server of each space.

    It is probed before the first text is sent, and only then: probe it again after the server was
    changed, for instance to other limits.

    ```
    rag-assets provider --probe
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (settings, connection):
        if probe:
            _probe_all(connection, settings)
        found = {role: profile_in_use(connection, settings, role) for role in ROLES}
    if as_json:
        show_json({role: profile for role, profile in found.items() if profile})
        return
    show_pairs(
        [
            (role, plain(f"{space_spec(settings, role).model}: {profile}"))
            for role, profile in found.items()
            if profile
        ]
    )
    if not any(found.values()):
        out.print(
            "not probed yet: the first run does that, or --probe"
            if settings.needs_key()
            else f"the provider is {settings.rag_embedding_provider}: there is no server to probe"
        )


def _probe_all(connection: Connection, settings: Settings) -> None:
    if not settings.needs_key():
        raise ConfigurationError(
            f"the provider is {settings.rag_embedding_provider}: there is no server to probe"
        )
    spaces = {role: find_space(connection, settings, role) for role in ROLES}
    for role in [role for role, space in spaces.items() if space] or ROLES[:1]:
        space = register_space(connection, settings, role)
        endpoint, probed = run_async(_probe(settings, role))
        store_profile(connection, space.space_id, endpoint, probed.profile)


async def _probe(settings: Settings, role: Role) -> tuple[str, Probed]:
    async with open_embedder(settings) as embedder:
        assert isinstance(embedder, ProbedEmbedder)  # noqa: S101 -- it is the one with a server
        spec, batch = space_spec(settings, role), settings.rag_embedding_batch_size
        return embedder.endpoint, await embedder.probe(spec, embedder.keys[0], batch=batch)
