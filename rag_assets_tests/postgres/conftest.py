"""Fixtures for the PostgreSQL tests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from rag_assets.postgres.database import Database

_numbers = count()


@pytest.fixture
def empty(template_database: Database) -> Iterator[Database]:
    """The address of a database that does not exist yet."""
    fresh = template_database.named(f"unmigrated_{next(_numbers)}")
    yield fresh
    with template_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {fresh.name} WITH (FORCE)")
