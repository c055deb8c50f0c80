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

_ALIKE = 0.8
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$", re.I)
"""What Kubernetes puts into each container about the services `rag-api` and `rag-exporter`."""


_said: set[str] = set()


def unsaid_unknown_names() -> Iterator[str]:
    """As :func:`unknown_names`, each sentence once per process."""
    for sentence in unknown_names():
        if sentence not in _said:
            _said.add(sentence)
            yield sentence


def unknown_names() -> Iterator[str]:
    """A sentence for each name in the environment or ``.env`` that seems a setting and is none.

    Every ``RAG_*`` name seems one; of names with a prefix that others use, too (``OPENAI_``,
    ``PG_``, ``SLACK_``), those that are almost a setting's. An empty value counts as unset.
    """
    known = {field.upper() for field in Settings.model_fields} | READ_ELSEWHERE
    prefixes = {name.split("_")[0] for name in known}
    for place, values in (("the environment", os.environ), (".env", dotenv_values(".env"))):
        for name in sorted(name for name, value in values.items() if value):
            prefix, _, end = name.upper().partition("_")
            if name.upper() in known or prefix not in prefixes or _SERVICE_LINK.search(name):
                continue
            ours = prefix == "RAG"
            ends = [one.partition("_")[2] for one in sorted(known) if one.startswith(f"{prefix}_")]
            near = difflib.get_close_matches(end, ends, n=1, cutoff=0.6 if ours else _ALIKE)
            meant = f": did you mean {prefix}_{near[0]}?" if near else ""
            if ours or near:
                yield f"{name} in {place} is no setting and has no effect{meant}"
