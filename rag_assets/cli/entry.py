"""The program ``rag-assets``: what must be so before anything is imported, then the commands."""

from __future__ import annotations

from rag_assets.interrupts import end_on_signals


def run() -> None:
    """Run the command line. Ctrl-C ends it quietly also while it imports, which takes a second."""
    end_on_signals()
    from rag_assets.cli.main import app  # noqa: PLC0415

    app()


if __name__ == "__main__":
    run()
