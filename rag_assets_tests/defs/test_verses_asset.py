"""The asset ``verses``: what a run loads and reports, and that broken files change nothing."""

from __future__ import annotations

import shutil

import pytest

from rag_assets.defs.bible.metadata import VERSE_EMBEDDINGS_SCHEMA, VERSES_SCHEMA
from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.defs.conftest import Lane

USFM_WITH_ODDITIES = """\\id GEN test
\\usfm 3.0
\\c 1
\\p
\\v 1-2 A bridge over two verses
\\v 3
\\v 4 A plain one\\f + \\ft a note, which is no text\\f*
"""


def load(lane: Lane, code: str) -> dict[str, object]:
    """Run the job that only loads, and give its metadata."""
    run = lane.run(code, job="bible_verses")
    assert run.success
    return run.metadata("verses")


def test_a_version_is_stored_and_its_metadata_counts_what_changed(lane: Lane) -> None:
    folder = lane.drop("EN_ONE", sentences(12))
    told = load(lane, "EN_ONE")
    assert told["dagster/partition_row_count"] == 12
    assert told["references"] == 12
    assert (told["inserted"], told["updated"], told["deleted"]) == (12, 0, 0)
    assert (told["format"], told["licence"]) == ("usfm", "CC0-1.0")
    assert told["source"] == str(folder.resolve())
    assert lane.rows("SELECT verse, text FROM verses WHERE version_code = 'EN_ONE' ORDER BY 1") == [
        (place, text) for place, text in enumerate(sentences(12), start=1)
    ]

    lane.drop("EN_ONE", ["Another beginning", *sentences(12)[1:10]])
    told = load(lane, "EN_ONE")
    assert (told["inserted"], told["updated"], told["deleted"]) == (0, 1, 2)
    assert told["dagster/partition_row_count"] == 10


def test_oddities_are_shown_in_a_table_and_references_count_bridges_and_blanks(lane: Lane) -> None:
    folder = lane.drop("EN_ODD", ["unused"])
    (folder / "01-GEN.usfm").write_text(USFM_WITH_ODDITIES, encoding="utf-8")
    told = load(lane, "EN_ODD")
    assert told["dagster/partition_row_count"] == 2
    assert told["references"] == 4  # 1, 2 (bridged), 3 (blank), 4
    table = str(told["oddities"]).splitlines()
    assert table[0] == "| oddity | count | references |"
    assert table[-1] == "All of them: `rag-assets bible oddities EN_ODD`"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:-2]]
    rows = {kind: (count, references) for kind, count, references in cells}
    assert rows["bridge"][0] == "1"
    assert "GEN 1:1" in rows["bridge"][1]
    assert rows["blank"][0] == "1"
    assert "GEN 1:3" in rows["blank"][1]
    assert rows["missing_book"][0] == "65"
    assert rows["missing_book"][1].endswith("and 53 more")
    (text,) = lane.rows("SELECT text FROM verses WHERE version_code = 'EN_ODD' AND verse = 4")[0]
    assert text == "A plain one"


def test_a_version_that_forbids_ai_is_loaded_and_names_the_line_to_add(lane: Lane) -> None:
    folder = lane.drop("EN_SHUT", sentences(3), ai_allowed=False)
    told = load(lane, "EN_SHUT")
    assert told["policy"] == (
        "- **its text goes to no provider**: when its licence allows it, add the line "
        "`ai_allowed = true` to `EN_SHUT/version.toml`\n"
        "- `enabled_for_rag = true`: retrieval may serve it"
    )
    assert lane.count("SELECT count(*) FROM verses WHERE version_code = 'EN_SHUT'") == 3

    (folder / "version.toml").unlink()
    told = load(lane, "EN_SHUT")
    assert str(told["policy"]).count("when its licence allows it, add the line") == 2
    assert told["licence"] == "not declared"


def test_a_broken_file_fails_with_file_line_and_reason_and_changes_nothing(lane: Lane) -> None:
    folder = lane.drop("EN_BROKEN", sentences(5))
    load(lane, "EN_BROKEN")
    stored = "SELECT * FROM verses ORDER BY verse_id"
    declared = "SELECT * FROM bible_versions"
    before = (lane.rows(stored), lane.rows(declared))
    file = folder / "01-GEN.usfm"
    file.write_text("\\id GEN\n\\c 1\n\\p\n\\v 1 new \\f + \\ft a note without end\n", "utf-8")
    (folder / "version.toml").write_text('name = "Renamed"\n', "utf-8")

    run = lane.run("EN_BROKEN", job="bible_verses")
    assert not run.success
    failure = run.failure("verses")
    assert failure.description.startswith(f"{file}:4: ")
    assert "is not closed" in failure.description
    assert failure.metadata == {"error_class": "CorpusError", "may_pass_later": False}
    assert (lane.rows(stored), lane.rows(declared)) == before


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("name = ", "is not TOML: "),
        ("ai_alowed = true\n", "unknown entry 'ai_alowed'; known: name, language, licence, ai_"),
        ('ai_allowed = "true"\n', "ai_allowed must be true or false, not 'true'"),
        ("licence = 1\n", "licence must be a text in quotes, not 1"),
    ],
)
def test_a_wrong_version_toml_fails_with_what_is_wrong_and_stores_nothing(
    lane: Lane, toml: str, reason: str
) -> None:
    folder = lane.drop("EN_TOML", sentences(2))
    (folder / "version.toml").write_text(toml, "utf-8")
    run = lane.run("EN_TOML", job="bible_verses")
    failure = run.failure("verses")
    assert failure.description.startswith(f"{folder / 'version.toml'}: {reason}")
    assert lane.count("SELECT count(*) FROM bible_versions") == 0


def test_a_missing_folder_fails_with_how_to_make_it_and_keeps_what_is_stored(lane: Lane) -> None:
    folder = lane.drop("EN_GONE", sentences(4))
    load(lane, "EN_GONE")
    shutil.rmtree(folder)
    failure = lane.run("EN_GONE", job="bible_verses").failure("verses")
    assert failure.description.startswith(f"{folder}: no folder for version EN_GONE")
    assert "rag-assets bible add EN_GONE" in failure.description
    assert lane.count("SELECT count(*) FROM verses") == 4


def test_a_partition_with_a_malformed_code_says_how_to_write_one(lane: Lane) -> None:
    lane.instance.add_dynamic_partitions("bible_version", ["../etc"])
    failure = lane.run("../etc", job="bible_verses").failure("verses")
    assert "'../etc' is not a version code" in failure.description
    assert failure.metadata["error_class"] == "ConfigurationError"


def test_the_data_version_is_the_hash_of_the_sources_alone(lane: Lane) -> None:
    folder = lane.drop("EN_HASH", sentences(2))

    def data_version() -> str:
        run = lane.run("EN_HASH", job="bible_verses")
        (event,) = run.result.asset_materializations_for_node("verses")
        return str((event.tags or {})["dagster/data_version"])

    first = data_version()
    (folder / "version.toml").write_text('name = "Other"\n', "utf-8")
    assert data_version() == first
    write_usfm_version(lane.bibles_dir, "EN_HASH", sentences(3))
    assert data_version() != first


def test_the_schemas_shown_are_those_of_the_database(lane: Lane) -> None:
    lane.drop("EN_COLS", sentences(1))
    assert lane.run("EN_COLS").success
    for table, schema in (("verses", VERSES_SCHEMA), ("verse_embeddings", VERSE_EMBEDDINGS_SCHEMA)):
        stored = dict(
            lane.rows(
                "SELECT column_name::text, coalesce(domain_name, CASE data_type"
                " WHEN 'USER-DEFINED' THEN udt_name ELSE data_type END)::text"
                " FROM information_schema.columns WHERE table_name = %s",
                table,
            )
        )
        shown = {column.name: column.type for column in schema.columns}
        assert shown == {name: stored[name] for name in shown}, table
