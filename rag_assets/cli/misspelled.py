"""Names in the environment and `.env` that look like a setting's but are none."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values

from rag_assets.settings.model import Settings

_ALIKE = 0.84
"""Above the likeness of names that Docker Compose alone reads, such as RAG_BIBLES."""


def misspelled_settings(env_file: Path = Path(".env")) -> Iterator[str]:
    """A sentence for each name that is ignored, although a setting's is nearly the same."""
    known = {name.upper() for name in Settings.model_fields}
    given = {name.upper() for name in (*os.environ, *dotenv_values(env_file))}
    for name in sorted(given - known):
        if name.startswith(("RAG_", "OPENAI_", "PG_")) and (
            near := difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
        ):
            yield f"{name} is no setting and is ignored: did you mean {near[0]}?"
