"""``rag-assets bible``: what is unusual in a version, what a plan refuses, and what is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Run

pytestmark = pytest.mark.long

SOURCE = r"""\id PSA
\c 3
\d A Psalm of David.
\q1
\v 1-2 LORD
\v 3
\v 4 a
\v 4 b
"""


@pytest.fixture
def source(workplace: Path) -> Path:
    folder = workplace / "download"
    folder.mkdir()
    (folder / "19-PSA.usfm").write_text(SOURCE, "utf-8")
    (folder / "copr.htm").write_text("<html>", "utf-8")
    return folder


def test_the_oddities_of_a_version_are_counted_after_add_and_listed_in_full(
    run: Run, source: Path
) -> None:
    added = run("bible", "add", "EN_ODD", str(source))
    line = next(line for line in added.out.splitlines() if line.startswith("EN_ODD: oddities: "))
    assert "title 1, skipped_file 1, bridge 1, duplicate 1, blank 1" in line
    assert "`rag-assets bible oddities EN_ODD`" in line

    listed = run("bible", "oddities", "EN_ODD", "--json").json
    assert [(row["kind"], row["reference"]) for row in listed if row["book"] == "PSA"][:3] == [
        ("bridge", "PSA 3:1-2"),
        ("blank", "PSA 3:3"),
        ("duplicate", "PSA 3:4"),
    ]
    assert sum(row["kind"] == "missing_book" for row in listed) == 65

    title = run("bible", "oddities", "EN_ODD", "--kind", "title", "--book", "psa", "--json").json
    assert title == [
        {
            "kind": "title",
            "book": "PSA",
            "reference": "PSA 3",
            "detail": "left out: 'A Psalm of David.'",
        }
    ]
    shown = run("bible", "oddities", "EN_ODD", "--kind", "skipped_file").out
    assert "copr.htm" in shown
    assert "a companion file" in shown
    named = run("bible", "oddities", "EN_ODD", "--book", "Psalms").out.splitlines()
    assert named[0].startswith("EN_ODD: bridge 1, blank 1, duplicate 1, title 1, missing ")
    assert any("PSA 1:1-6 " in line for line in named)
    assert not any("PSA 1:2" in line for line in named)
    assert named[-1].split()[0] == "missing"
    assert "Did you mean" in run("bible", "oddities", "EN_ODD", "--book", "Genesys").err
    bogus = run("bible", "oddities", "EN_ODD", "--kind", "bogus").err
    assert "'bogus' is not one of" in bogus
    assert "Value error" not in bogus
    assert "no folder for version EN_NO" in run("bible", "oddities", "EN_NO").err


def test_those_of_a_loaded_version_come_from_the_database(
    run: Run, source: Path, workplace: Path, database: Database
) -> None:
    run("bible", "add", "EN_ODD", str(source), "--ai-allowed")
    embedded = run("bible", "embed", "EN_ODD", "--small-only")
    assert "EN_ODD: oddities: title 1, skipped_file 1" in embedded.out
    before = run("bible", "oddities", "EN_ODD", "--json").json

    (workplace / "bibles/EN_ODD").rename(workplace / "gone")
    assert run("bible", "oddities", "EN_ODD", "--json").json == before
    with database.connect() as connection:
        connection.execute("UPDATE bible_versions SET oddities = NULL")
    assert "was loaded before oddities were stored" in run("bible", "oddities", "EN_ODD").err
    (workplace / "gone").rename(workplace / "bibles/EN_ODD")
    assert run("bible", "oddities", "EN_ODD", "--json").json == before

    (workplace / "bibles/EN_ODD/19-PSA.usfm").write_text(SOURCE + "\\v 5-6 c\n", "utf-8")
    bridges = run("bible", "oddities", "EN_ODD", "--kind", "bridge", "--json").json
    assert [row["reference"] for row in bridges] == ["PSA 3:1-2", "PSA 3:5-6"]


def test_a_dry_run_refuses_what_the_run_refuses(run: Run, workplace: Path) -> None:
    both = run("bible", "embed", "EN_SAMPLE", "--dry-run", "--small-only", "--large-only")
    assert (both.status, both.err) == (
        1,
        "error: --small-only and --large-only exclude each other: choose one\n",
    )
    dear = run(
        "bible", "embed", "EN_SAMPLE", "--dry-run", "--small-only",
        RAG_EMBEDDING_PROVIDER="openai", RAG_MAX_RUN_COST_USD="0.0000001",
    )  # fmt: skip
    assert dear.status == 1
    assert "EN_SAMPLE" in dear.out
    assert "more than RAG_MAX_RUN_COST_USD" in dear.err
    (workplace / "bibles/EN_SAMPLE/version.toml").write_text("ai_allowed = yes", "utf-8")
    for arguments in (("plan", "EN_SAMPLE"), ("embed", "EN_SAMPLE", "--dry-run")):
        refused = run("bible", *arguments)
        assert refused.status == 1
        assert "version.toml: is not TOML" in refused.err


def test_a_partition_whose_folder_is_gone_is_removed(run: Run, workplace: Path) -> None:
    assert run("bible", "embed", "EN_SAMPLE", "--small-only").status == 0
    (workplace / "bibles/EN_SAMPLE").rename(workplace / "gone")
    removed = run("bible", "remove", "EN_SAMPLE", "--yes", "--json").json
    assert removed == {"version": "EN_SAMPLE", "verses_removed": 251, "partition_removed": True}
    again = run("bible", "remove", "EN_SAMPLE", "--yes")
    assert (again.status, "is not in the database" in again.err) == (1, True)


def test_a_partition_without_data_and_folder_is_removed(run: Run, workplace: Path) -> None:
    folder = workplace / "bibles/EN_BAD"
    folder.mkdir()
    (folder / "a.usfm").write_text("\\id GEN\n\\c 1\n\\p\n\\v x a", "utf-8")
    assert run("bible", "embed", "EN_BAD").status == 1
    folder.rename(workplace / "gone")
    removed = run("bible", "remove", "EN_BAD", "--yes", "--json").json
    assert removed == {"version": "EN_BAD", "verses_removed": 0, "partition_removed": True}


def test_versions_are_embedded_by_patterns_in_their_order(run: Run) -> None:
    options = [
        "--sleep",
        "0",
        "--max-retries",
        "1",
        "--timeout",
        "9",
        "--only-missing",
        "--limit",
        "5",
    ]
    done = run("bible", "embed", "--versions", "PT_*, XX_*,EN_*", *options, "--json")
    assert [row["version"] for row in done.json] == ["PT_SAMPLE", "EN_SAMPLE"], done.err
    assert "no version matches XX_*" in done.err
    planned = run("bible", "embed", "--versions", "EN_*", "--dry-run", "--json").json
    assert {plan["version_code"] for plan in planned} == {"EN_SAMPLE"}
    none = run("bible", "embed", "--versions", "XX_*")
    assert (none.status, "selects no version: there are EN_SAMPLE" in none.err) == (1, True)
