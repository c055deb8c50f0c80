"""``rag-assets provider``: what the embedding servers do, as a probe found it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from rag_assets.cli.opening import corpus_connection, open_corpus
from rag_assets.cli.output import Json, errors_as_sentences, out, plain, show_json, show_pairs
from rag_assets.embedding.purchase import open_purchaser
from rag_assets.embedding.sql.profiles import profile_in_use
from rag_assets.embedding.sql.purchases import LedgerKey
from rag_assets.errors import ConfigurationError
from rag_assets.interrupts import run_async
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import ROLES, Role, distinct_roles, register_space, space_spec


def provider(
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Probe the servers now: a request or a few, some tokens."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the protocol and limits used with the embedding server of each space.

    A server is probed once, before the first text is sent. Probe it again when it has changed, for
    example its limits.

    ```
    rag-assets provider --probe
    ```
    """
    with errors_as_sentences(as_json):
        if probe:
            _probe_all()
        with corpus_connection() as (settings, connection):
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


def _probe_all() -> None:
    """Probe each space's server, and store what is found; one that fails leaves the others."""
    settings, database = open_corpus()
    if not settings.needs_key():
        raise ConfigurationError(
            f"the provider is {settings.rag_embedding_provider}: there is no server to probe"
        )
    for role in distinct_roles(settings):
        run_async(_probe(settings, database, role))


async def _probe(settings: Settings, database: Database, role: Role) -> None:
    with database.connect(autocommit=True) as session:
        space = register_space(session, settings, role)
        key = LedgerKey(f"provider-{os.getpid()}", "bible", "provider")
        async with open_purchaser(
            database, session, settings, space=space, ledger_key=key, progress=Silent()
        ) as purchaser:
            await purchaser.probe()
