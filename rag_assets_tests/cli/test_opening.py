"""What commands open: the address of Dagster's UI."""

from __future__ import annotations

from pathlib import Path

from rag_assets.cli.opening import UI_ADDRESS, ui_address
from rag_assets.settings.model import Settings


def test_links_go_to_the_ui_that_runs_here_unless_an_address_is_set(tmp_path: Path) -> None:
    settings = Settings(rag_home=tmp_path)
    assert ui_address(settings) is None
    (tmp_path / UI_ADDRESS).write_text("http://127.0.0.1:3517", "utf-8")
    assert ui_address(settings) == "http://127.0.0.1:3517"
    named = Settings(rag_home=tmp_path, rag_public_url="https://dagster.example")
    assert ui_address(named) == "https://dagster.example"
