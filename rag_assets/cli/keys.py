"""``rag-assets keys``: the API's keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from rag_assets.api.sql.keys import SCOPES, create_key, list_keys, revoke_key
from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import corpus_connection
from rag_assets.cli.options import within
from rag_assets.cli.output import Json, err, errors_as_sentences, out, show_json, show_table
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.errors import ConfigurationError
from rag_assets.retrieval.confinement import Confinement

app = Commands(help="API keys: create, list, revoke.\n\n```\nrag-assets keys list\n```")


Corpora = Annotated[
    str | None, typer.Option(help="Confine it to these: bible, or document corpora.")
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="The client that will use it.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="read or admin; may be repeated. Default: read.")
    ] = None,
    per_minute: Annotated[
        int | None,
        typer.Option(
            **within("rag_api_requests_per_minute"),
            help="Requests per minute. Default: RAG_API_REQUESTS_PER_MINUTE.",
        ),
    ] = None,
    corpora: Corpora = None,
    versions: Annotated[
        str | None,
        typer.Option(
            help="Confine it to the Bible versions that match these patterns: 'PT_*,EN_KJV'."
        ),
    ] = None,
    languages: Annotated[
        str | None, typer.Option(help="Confine it to versions and documents in these: pt,en.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a key. It is shown once and stored as a hash.

    Licences differ: a key can be confined to what its client may read, and then finds nothing else.

    ```
    rag-assets keys create my-application
    rag-assets keys create uploader --scope admin
    rag-assets keys create reading-room --versions 'PT_*,EN_KJV'
    rag-assets keys create biblioteca --languages pt --corpora bible,documents
    ```
    """
    with errors_as_sentences(as_json):
        if not name.strip():
            raise ConfigurationError("a key needs a name: that of the client that will use it")
        chosen = _listed("--corpora", corpora)
        confinement = _confinement(chosen, versions, languages)
        scopes = tuple(known for known in SCOPES if known in (scope or ["read"]))
        unknown = set(scope or []) - set(SCOPES)
        if unknown:
            raise ConfigurationError(
                f"unknown scope {', '.join(sorted(unknown))}: the scopes are {', '.join(SCOPES)}"
            )
        with corpus_connection() as (settings, connection):
            _check_corpora(chosen or (), ("bible", *document_corpora(connection)))
            key = create_key(
                connection,
                name,
                scopes,
                requests_per_minute=per_minute or settings.rag_api_requests_per_minute,
                confinement=confinement,
            )
    if as_json:
        show_json({"key": key, "name": name, "scopes": scopes, "confinement": confinement})
        return
    out.print(key)
    err.print("[dim]keep it now: it is stored as a hash and cannot be shown again[/dim]")


def _check_corpora(chosen: Sequence[str], known: Sequence[str]) -> None:
    if unknown := set(chosen) - set(known):
        raise ConfigurationError(
            f"unknown corpus {', '.join(sorted(unknown))}: the corpora are {', '.join(known)}"
        )


def _confinement(
    chosen: tuple[str, ...] | None, versions: str | None, languages: str | None
) -> Confinement:
    """What the options confine a key to.

    :raises ConfigurationError: one of them is empty, unknown, or excludes another.
    """
    patterns = _listed("--versions", versions)
    if patterns and chosen and "bible" not in chosen:
        raise ConfigurationError("--versions are the Bible's: add bible to --corpora")
    for pattern in patterns or ():
        if pattern != pattern.upper():
            raise ConfigurationError(
                f"--versions: {pattern} matches no version: codes are capitals, such as "
                f"{pattern.upper()}"
            )
    tags = _listed("--languages", languages)
    for tag in tags or ():
        if not (tag.isascii() and tag.isalpha() and tag.islower()):
            raise ConfigurationError(
                f"--languages: {tag} is no language: give the first part of a tag alone, such as pt"
            )
    return Confinement(tuple(sorted(set(chosen))) if chosen else None, patterns, tags)


def _listed(option: str, given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    found = tuple(filter(None, map(str.strip, given.split(","))))
    if not found:
        raise ConfigurationError(f"{option} is empty: leave it out for no restriction")
    return found


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List all keys, without their secrets.

    ```
    rag-assets keys list
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        found = list_keys(connection)
    if as_json:
        show_json(found)
        return
    show_table(
        [
            {
                "key": key.key_id,
                "name": key.name,
                "scopes": ", ".join(key.scopes),
                "per minute": key.requests_per_minute,
                "created": key.created_at,
                "revoked": key.revoked_at,
                "confined to": str(key.confinement) or None,
            }
            for key in found
        ],
        empty="no key yet: `rag-assets keys create NAME` creates one",
    )


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id, from `rag-assets keys list`.")],
    as_json: Json = False,
) -> None:
    """Revoke a key. Workers refuse it within RAG_API_KEY_CACHE_S seconds.

    ```
    rag-assets keys revoke 5cdf8025d915
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        if not revoke_key(connection, key_id):
            raise ConfigurationError(f"there is no key {key_id} to revoke: `rag-assets keys list`")
    if as_json:
        show_json({"revoked": key_id})
        return
    out.print(f"{key_id} is revoked")
