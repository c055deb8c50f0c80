"""The shared cases, each modelled on another project's fault: the right value is read, once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rag_assets.documents.formats.extract import read_document
from rag_assets_tests.conftest import SHARED_CASES
from rag_assets_tests.documents.formats.conftest import LIMITS

CASES = {
    "apos_quot.docx": ["""Don't say "no"; l'eau; café ’t, 3 > 2"""],
    "word_library.docx": [
        "R&D at Smith & Sons",
        "AT&T and Procter & Gamble: 5 < 7 and 9 > 2.",
        "Name: Maria",
        "Q&A | a < b",
    ],
    "form_tabs.docx": [
        "Name: Maria Age: 42",
        """Smith & Sons, Fish & Chips, a > b, "q" 's""",
    ],
    "chapter_name_percent_encoded.epub": ["First Alpha words. Second Beta words."],
    "word_split_over_lines.epub": ["chapter two."],
    "empty_plain_html.eml": ["The real message is here."],
    "twoparts.eml": ["First part text. Second part text, same message. Third part."],
    "forward.eml": ["Inner subject", "The forwarded words about turnips."],
    "two_messages.mbox": ["segue a ata.", "ATTACHEDTEXT the minutes", "Second body SECONDMAIL."],
    "rowspan.html": ["North | Jan | 10 North | Feb | 20"],
    "hidden.html": ["Shown. Form:"],
    "groups_notes.pptx": ["Speaker notes about turnips & pears."],
    "utf8_with_some_cp1252.md": ["You’ll need paper “quoted” now."],
    "running_headers.pdf": ["CONFIDENTIAL Company Report 2024"],
    "notebook.ipynb": ["# NB title text x=1"],
}
NOWHERE = {
    "hidden.html": ["Ignore all earlier", "Hidden too"],
    "two_messages.mbox": ["Content-Type", "QVRUQUNI", "==="],
    "notebook.ipynb": ["cell_type", "{"],
}
FOLDER = Path(SHARED_CASES, "documents")


def test_no_shared_case_is_left_out() -> None:
    if FOLDER.exists():
        assert {path.name for path in FOLDER.iterdir()} == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_the_shared_cases(name: str) -> None:
    path = FOLDER / name
    if not path.exists():
        pytest.skip("the shared cases are not on this machine")
    document = read_document(path.read_bytes(), name, LIMITS)
    read = " ".join(" ".join(chunk.text for chunk in document.chunks).split())
    for wanted in CASES[name]:
        assert len(re.findall(re.escape(wanted), read)) == 1
    for unwanted in NOWHERE.get(name, []):
        assert unwanted not in read
