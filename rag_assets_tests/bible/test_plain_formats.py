"""What of JSON, CSV and vref files becomes verses."""

from __future__ import annotations

import json
from pathlib import Path

from rag_assets.bible.formats.bodruk_json import read_bodruk_json
from rag_assets.bible.formats.passages import Source
from rag_assets.bible.formats.scrollmapper_csv import read_scrollmapper_csv
from rag_assets.bible.formats.vref import read_vref
from rag_assets_tests.bible import samples


def told(source: Source) -> list[tuple[str, str]]:
    return [(passage.reference, passage.text) for passage in source.passages]


def test_json_verses_are_numbered_by_position() -> None:
    source = read_bodruk_json(Path("a.json"), samples.BODRUK_JSON.encode())

    assert told(source) == [
        ("JOB 1:1", "Havia um homem."),
        ("JOB 1:2", ""),
        ("JHN 1:1", "No principio"),
        ("JHN 1:2", "era o Verbo."),
        ("JHN 2:1", "E ao terceiro dia"),
    ]


def test_json_tells_jonah_from_john_by_layout_and_by_name() -> None:
    books = [
        {"abbrev": "jn", "chapters": [["a"]]},
        {"abbrev": "jn", "chapters": [["b"]], "name": "John"},
    ]

    source = read_bodruk_json(Path("a.json"), json.dumps(books).encode())

    assert told(source) == [("JON 1:1", "a"), ("JHN 1:1", "b")]


def test_csv_quotes_and_blank_texts() -> None:
    source = read_scrollmapper_csv(Path("a.csv"), samples.SCROLLMAPPER_CSV.encode())

    assert told(source) == [
        ("1SA 1:1", "Now, there was a man"),
        ("1SA 1:2", ""),
        ("REV 1:1", 'The "Revelation"'),
    ]


def test_vref_ranges_bridge_and_blank_lines_are_absent() -> None:
    source = read_vref(
        Path("vref.txt"), samples.VREF_LIST.encode(), Path("a.txt"), samples.VREF_TEXT.encode()
    )

    assert told(source) == [("PSA 13:5-6", "But I trust."), ("PSA 14:1", "The fool.")]
    assert not source.oddities


def test_a_vref_range_that_cannot_join_is_reported() -> None:
    references = b"PSA 13:6\nPSA 14:1\nPSA 14:2\n"

    source = read_vref(Path("vref.txt"), references, Path("a.txt"), b"a\n<range>\n<range>\n")

    assert told(source) == [("PSA 13:6", "a")]
    assert [oddity.reference for oddity in source.oddities] == ["PSA 14:1", "PSA 14:2"]


def test_vref_text_may_hold_unicode_line_separators() -> None:
    text = "a\u2028b\nc\n".encode()

    source = read_vref(Path("vref.txt"), b"GEN 1:1\nGEN 1:2\n", Path("a.txt"), text)

    assert told(source) == [("GEN 1:1", "a b"), ("GEN 1:2", "c")]
