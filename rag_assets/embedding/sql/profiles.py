"""Profiles of servers, by space and address: stored by who probes, read by all who embed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from psycopg.types.json import Jsonb

from rag_assets.embedding.profile import Profile, endpoint_of
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Role, find_space

_FIELDS = frozenset(field.name for field in fields(Profile))


def stored_profile(connection: Connection, space_id: int, endpoint: str) -> Profile | None:
    """What was found before; ``None`` where nothing was. By primary key."""
    row = connection.execute(
        "SELECT profile FROM provider_profiles WHERE (space_id, endpoint) = (%s, %s)",
        (space_id, endpoint),
    ).fetchone()
    return _profile(row[0]) if row else None


def profile_in_use(connection: Connection, settings: Settings, role: Role) -> Profile | None:
    """The stored profile of a role's server.

    :returns: ``None`` for a provider without a server, and before the first probe.
    """
    space = find_space(connection, settings, role)
    if space is None or not settings.needs_key():
        return None
    return stored_profile(connection, space.space_id, endpoint_of(settings.openai_base_url))


def store_profile(connection: Connection, space_id: int, endpoint: str, profile: Profile) -> None:
    """Store what was found, in place of what was stored before."""
    connection.execute(
        """
        INSERT INTO provider_profiles AS p (space_id, endpoint, profile) VALUES (%s, %s, %s)
        ON CONFLICT (space_id, endpoint) DO UPDATE
           SET (profile, probed_at) = (EXCLUDED.profile, EXCLUDED.probed_at)
        """,
        (space_id, endpoint, Jsonb(asdict(profile))),
    )


def _profile(stored: Mapping[str, Any]) -> Profile:
    """From any version's: what it does not know yet is as OpenAI does it."""
    return Profile(**{name: value for name, value in stored.items() if name in _FIELDS})
