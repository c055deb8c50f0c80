"""The documents tell the truth: settings, links, commands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.build import HTML
from rag_assets.settings.model import Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_SECRET_OR_EMPTY = (None, "")


def test_every_setting_is_documented_with_its_default_and_in_its_own_words() -> None:
    text = (ROOT / "docs/settings.md").read_text("utf-8")
    found = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", text, re.M)
    rows = {name: (default, words.replace("\\|", "|")) for name, default, words in found}
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        shown, words = rows[name.upper()]
        assert words == field.description, name
        if field.default in _SECRET_OR_EMPTY:
            assert not shown.startswith("`"), f"{name} has no default, but {shown} is documented"
        else:
            default = field.default
            wanted = str(default).lower() if isinstance(default, bool) else str(default)
            assert shown == f"`{wanted}`", name


def test_the_example_of_code_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/code.md").read_text(), re.M | re.S
    )
    exec(compile(example, "docs/code.md", "exec"), {})  # noqa: S102 -- our own page
    assert capsys.readouterr().out.startswith("usfm 251 Long ago")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_folders_named_in_code_type_are_there(document: Path) -> None:
    known = ("rag_assets/", "sql/", "samples/", "benchmarks/", "docs/", "rag_assets_tests/")
    for name in re.findall(r"`([\w./-]+)`", document.read_text("utf-8")):
        if name.startswith(known):
            assert (ROOT / name).exists(), f"{document.name} names {name}"


def test_the_readme_has_the_commands_of_the_set_up() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert re.findall(r"(?m)^make (?:demo|test) ", text) == ["make demo ", "make test "]
    assert text.count("![") == 1
    assert len(text.split()) < 900, "two minutes of reading"


@pytest.mark.parametrize("name", ["README.md", "docs/comparison.md"])
def test_figures_are_those_of_the_benchmarks(name: str) -> None:
    measured = set(_FIGURE.findall((ROOT / "benchmarks/README.md").read_text("utf-8")))
    rows = re.findall(r"(?m)^\|.*\d.*\|$", (ROOT / name).read_text("utf-8"))
    assert len(rows) > 4
    assert {figure for row in rows for figure in _FIGURE.findall(row)} <= measured


_FIGURE = re.compile(r"\d+\.\d+|\d+,\d{3}")


def test_the_site_is_whole(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.build"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    named = re.findall(r"\]\(([\w/.-]+)\)", (HTML / "llms.txt").read_text("utf-8"))
    assert {"tutorial.html", "reference/cli.html", "operations/index.html"} < set(named)
    assert [name for name in named if not (HTML / name).exists()] == []


def test_the_example_of_a_contribution_applies() -> None:
    found = re.findall(r"(?ms)^```diff\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert len(found) == 2
    for patch in found:
        subprocess.run(["git", "apply", "--check"], cwd=ROOT, input=patch, text=True, check=True)


NARROW = [
    ROOT / "docs" / name
    for name in (
        "api.md",
        "batches.md",
        "release.md",
        "operations/audit.md",
        "operations/levers.md",
    )
]


def fenced(text: str) -> list[str]:
    """The lines of the fenced examples."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("document", [ROOT / "README.md", *NARROW], ids=lambda path: path.name)
def test_examples_fit_a_hundred_columns(document: Path) -> None:
    lines = fenced(document.read_text("utf-8"))
    assert lines
    assert [line for line in lines if len(line) > 100] == []


STUMBLED_OVER = (
    *("told", "tells", "mend", "mends", "mended", "anew", "so many", "by itself"),
    *("who calls", "nobody", "somebody", "dear", "bought", "stands in for"),
)
"""Words over which a fluent reader stumbles; the guides have others for each."""
GUIDES = [
    document
    for document in DOCUMENTS
    if document.name not in ("CHANGELOG.md", "licences.md") and "decisions" not in document.parts
]


def stumbled_over(text: str) -> list[str]:
    """The words of the list that a text has."""
    return re.findall(rf"\b(?:{'|'.join(STUMBLED_OVER)})\b", text, re.IGNORECASE)


@pytest.mark.parametrize("document", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_guide_is_in_plain_english(document: Path) -> None:
    assert stumbled_over(document.read_text("utf-8")) == []


def strings_of(module: ast.Module) -> Iterator[ast.Constant]:
    """Texts that a module may show: no docstrings, and no statement about a column of that name."""
    hidden = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) not in hidden and " " in node.value and "recovery_actions" not in node.value:
            yield node


def test_what_the_package_says_is_in_plain_english() -> None:
    said = [
        f"{path.relative_to(ROOT)}:{one.lineno}: {one.value}"
        for path in sorted((ROOT / "rag_assets").rglob("*.py"))
        for one in strings_of(ast.parse(path.read_text("utf-8")))
        if stumbled_over(str(one.value))
    ]
    assert said == []


def test_strings_are_read_and_docstrings_are_not() -> None:
    module = ast.parse('"""Who is told."""\ndef f(x):\n    """Told."""\n    return f"{x} was told"')
    assert [one.value for one in strings_of(module)] == [" was told"]


def test_the_words_are_seen_where_they_stand() -> None:
    assert stumbled_over("Nobody was told, so many were\nmended by itself.") == [
        *("Nobody", "told", "so many", "mended", "by itself")
    ]
    assert stumbled_over("A person is needed: the index is untold, and dearth itself.") == []
