"""Commands and options of earlier runbooks, and what replaces each. Pure."""

from __future__ import annotations

from collections.abc import Collection

_LEVERS = {
    "--concurrency": "set RAG_EMBEDDING_CONCURRENCY",
    "--rate-limit": "set RAG_EMBEDDING_RATE_LIMIT",
    "--max-chunk-size": "set RAG_MAX_CHUNK_SIZE",
    "--max-concurrent-jobs": "set RAG_MAX_CONCURRENT_JOBS",
    "--model": "`rag-assets space change --set RAG_EMBEDDING_SMALL_MODEL=…` changes the model",
    "--dim-small": "`rag-assets space change --set RAG_EMBEDDING_SMALL_DIMENSIONS=…` changes it",
    "--dim-large": "`rag-assets space change --set RAG_EMBEDDING_LARGE_DIMENSIONS=…` changes it",
    "--probes": "the build chooses probes by measurement; PG_IVFFLAT_PROBES sets them",
    "--concurrently": "leave it out: every index is built concurrently",
    "--drop": "`rag-assets release rollback` goes back to the index before, with its probes",
}
_RENAMED = {
    "--delay": "--sleep",
    "--delay-ms": "--sleep",
    "--retries": "--max-retries",
    "--version": "--versions",
    "--versions": "--version",
    "--work-mem": "--maintenance-work-mem",
    "--nlist": "--lists",
    "--num-lists": "--lists",
    "--force-overwrite": "--overwrite",
}

_COMMANDS = {
    "generate-embeddings": "rag-assets bible embed",
    "create-vector-indexes": "rag-assets index build",
    "requeue": "rag-assets documents retry",
    "dead-letters": "rag-assets documents dlq",
    "reorder-queue": "rag-assets documents prioritize --oldest-first",
    "info": "rag-assets doctor",
    "retrieve": "rag-assets search",
}


def present_command(name: str) -> str | None:
    """The command that does what one of an earlier runbook did; ``None`` if unknown."""
    return _COMMANDS.get(name.replace("_", "-"))


def present_option(name: str, known: Collection[str]) -> str | None:
    """What to give instead of an option that the command does not have; ``None`` if unknown.

    :param known: the options that the command has.
    """
    dashed = name.replace("_", "-")
    for present in (dashed, _RENAMED.get(dashed)):
        if present in known:
            unit = ", in seconds" if present == "--sleep" else ""
            return f"{name} is called {present}{unit}"
    return f"there is no option {name}: {_LEVERS[dashed]}" if dashed in _LEVERS else None
