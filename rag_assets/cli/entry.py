"""The program ``rag-assets``: signal handlers before any slow import, then the commands."""

from __future__ import annotations

from rag_assets.interrupts import end_on_signals


def run() -> None:
    """Run the command line. Ctrl-C ends it quietly, also while it imports (about a second)."""
    end_on_signals()
    from rag_assets.cli.main import app  # noqa: PLC0415

    app()


if __name__ == "__main__":
    run()
