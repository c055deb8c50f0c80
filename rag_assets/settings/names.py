"""Names of environment variables: those that look like a setting of ours and are none."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator

from dotenv import dotenv_values

from rag_assets.settings.model import Settings

READ_ELSEWHERE = frozenset({
    "RAG_SECRETS_DIR",  # where the secrets' files are
    # Compose and the services of workers read these
    "RAG_BIBLES", "RAG_HUB_ADDRESS", "RAG_IMAGE", "RAG_INBOX", "RAG_RUNS_MEMORY",
    "RAG_WORKER_DRAIN", "RAG_WORKER_NAME", "RAG_WORKER_RUNS",
    # sql/roles.sql reads these
    "RAG_API_PASSWORD", "RAG_MONITOR_PASSWORD", "RAG_OWNER_PASSWORD",
})  # fmt: skip
"""Names that begin like our settings and are read by something else."""

_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$")
"""What Kubernetes puts into each container about the services `rag-api` and `rag-exporter`."""


def unknown_names() -> Iterator[str]:
    """A sentence for each ``RAG_*`` name in the environment or ``.env`` that nothing reads.

    An empty value counts as unset.
    """
    known = {field.upper() for field in Settings.model_fields} | READ_ELSEWHERE
    for place, values in (("the environment", os.environ), (".env", dotenv_values(".env"))):
        for name in sorted(name for name, value in values.items() if value):
            upper = name.upper()
            if not upper.startswith("RAG_") or upper in known or _SERVICE_LINK.search(upper):
                continue
            ends = {one.removeprefix("RAG_"): one for one in known}  # all names begin alike
            near = difflib.get_close_matches(upper.removeprefix("RAG_"), sorted(ends), n=1)
            meant = f": did you mean {ends[near[0]]}?" if near else ""
            yield f"{name} in {place} is no setting and has no effect{meant}"
