"""``rag-assets mcp``: the tools for agents on standard input and output."""

from __future__ import annotations

import asyncio

from rag_assets.cli.opening import open_corpus
from rag_assets.cli.output import errors_as_sentences


def mcp() -> None:
    """Serve MCP tools on standard input and output, for an agent that starts this command.

    The running API serves the same tools at `/mcp`.

    ```
    rag-assets mcp
    ```
    """
    with errors_as_sentences():
        settings, _ = open_corpus()
        from rag_assets.api.agents.stdio import serve_stdio  # noqa: PLC0415 -- two seconds

        asyncio.run(serve_stdio(settings))
