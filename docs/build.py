"""Build the documentation site: ``make docs``, or ``python -m docs.build``.

The pages stay where the repository's readers and the program's messages find them: in ``docs`` and
at the top of some folders. Here they are assembled into ``.site/pages``, with their links between
them rewritten, beside the reference pages, which are generated from the code. Zensical builds the
site in ``.site/html`` and refuses links and anchors that lead nowhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

from docs import reference

ROOT = Path(__file__).parents[1]
SITE = ROOT / ".site"
PAGES, HTML = SITE / "pages", SITE / "html"
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "benchmarks/README.md": "benchmarks.md",
    "integrations/README.md": "integrations.md",
    "docs/index.md": "vector-index.md",  # index.md is the site's first page
    "docs/decisions": "decisions/README.md",
    "docs/operations": "operations/README.md",
}
"""Sources whose place on the site is not their place below ``docs``."""
GENERATED = {
    "reference/cli.md": reference.cli,
    "reference/api.md": reference.api,
    "decisions/README.md": reference.decisions,
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^ *```", re.M)


def sources() -> dict[str, str]:
    """The place on the site of each source, both relative to their folders."""
    below = {
        str(path.relative_to(ROOT)): str(path.relative_to(ROOT / "docs"))
        for kind in ("*.md", "*.png", "*.webp")
        for path in (ROOT / "docs").rglob(kind)
    }
    return below | ELSEWHERE


def assemble() -> None:
    """Write every page of the site, as Markdown."""
    shutil.rmtree(PAGES, ignore_errors=True)
    places = sources()
    for source, place in places.items():
        target = PAGES / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            continue
        if target.suffix == ".md":
            target.write_text(_moved((ROOT / source).read_text("utf-8"), source, places), "utf-8")
        else:
            shutil.copy(ROOT / source, target)
    for place, page in GENERATED.items():
        (PAGES / place).parent.mkdir(exist_ok=True)
        (PAGES / place).write_text(page(), "utf-8")
    (PAGES / "llms.txt").write_text(llms(), "utf-8")


def _moved(text: str, source: str, places: dict[str, str]) -> str:
    """A page's text with links as they are on the site; of what is not there, its name remains."""
    parts = _FENCE.split(text)
    fences = _FENCE.findall(text)
    for number in range(0, len(parts), 2):  # every other part is code
        parts[number] = _LINK.sub(lambda link: _link(link, source, places), parts[number])
    return "".join(part + fence for part, fence in zip(parts, [*fences, ""], strict=True))


def _link(link: re.Match[str], source: str, places: dict[str, str]) -> str:
    picture, words, target = link.groups()
    path, mark, anchor = target.partition("#")
    if not path or ":" in target:
        return link.group()
    meant = os.path.normpath(PurePosixPath(source).parent / path)
    if meant not in places:
        return words if (ROOT / meant).exists() else link.group()
    there = os.path.relpath(places[meant], PurePosixPath(places[source]).parent)
    return f"{picture}[{words}]({there}{mark}{anchor})"


def navigation() -> Any:
    """The tree of titles and pages."""
    with (ROOT / "zensical.toml").open("rb") as config:
        return tomllib.load(config)["project"]["nav"]


def entries(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """The headings above, title and place of each page in the navigation."""
    for one in tree:
        for title, what in one.items():
            if isinstance(what, str):
                yield above, title, what
            else:
                yield from entries(what, (*above, title))


def llms() -> str:
    """``llms.txt``: what this is, and every page with what it is for, for language models."""
    about = _first_words((PAGES / "index.md").read_text("utf-8"))
    lines = ["# rag_assets", "", f"> {about}"]
    heading = ""
    for above, title, place in entries(navigation()):
        if above[:1] and above[0] != heading:
            heading = above[0]
            lines += ["", f"## {heading}", ""]
        elif not above and not heading:
            heading = "Start here"
            lines += ["", f"## {heading}", ""]
        words = _first_words((PAGES / place).read_text("utf-8"))
        page = re.sub(r"(README)?\.md$", lambda end: f"{'index' if end[1] else ''}.html", place)
        lines.append(f"- [{title}]({page}): {words}")
    return "\n".join(lines) + "\n"


def _first_words(page: str) -> str:
    """The first sentence of the first paragraph, without markup."""
    paragraphs = (part for part in page.split("\n\n") if re.match(r"[\w`*\[](?!``)", part.strip()))
    text = _LINK.sub(r"\2", " ".join(next(paragraphs).split()))
    return re.split(r"(?<=[.:?]) (?=[A-Z])", text, maxsplit=1)[0].rstrip(":")


class _Loaded(HTMLParser):
    """What a page loads from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            loads = name == "src" or (name == "href" and tag == "link")
            if loads and re.match(r"(?:https?:)?//", value or ""):
                self.found.append(str(value))


def faults() -> list[str]:
    """What is wrong with the site beyond its links: pages that nothing leads to, foreign parts."""
    led_to = {place for _, _, place in entries(navigation())}
    placed = {str(path.relative_to(PAGES)) for path in PAGES.rglob("*.md")}
    found = [
        f"{page}: not in the navigation of zensical.toml"
        for page in sorted(placed - led_to)
        if not page.startswith("decisions/")
    ]
    for path in sorted(HTML.rglob("*.html")):
        page = _Loaded()
        page.feed(path.read_text("utf-8"))
        found += [f"{path.relative_to(HTML)}: loads {one}" for one in page.found]
    return found


def main() -> int:
    """Assemble, build and check; the status of the command."""
    assemble()
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run([program, "build", "--clean", "--strict"], cwd=ROOT, check=False)
    if done.returncode:
        return done.returncode
    if found := faults():
        print("\n".join(found), file=sys.stderr)  # noqa: T201 -- a command's output
        return 1
    print(f"{HTML.relative_to(ROOT)}/index.html")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
