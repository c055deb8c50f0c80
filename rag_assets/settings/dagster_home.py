"""The folder of Dagster's configuration; checked without importing Dagster, which takes seconds."""

from __future__ import annotations

import os
from pathlib import Path

from rag_assets.errors import ConfigurationError


def check_dagster_home() -> None:
    """Refuse a working directory without ``dagster.yaml`` unless DAGSTER_HOME names another.

    :raises ConfigurationError: there is neither.
    """
    if not os.environ.get("DAGSTER_HOME") and not Path("dagster.yaml").is_file():
        raise ConfigurationError(
            "no dagster.yaml here: start in the project's folder, or set DAGSTER_HOME to a folder "
            "that contains one"
        )
