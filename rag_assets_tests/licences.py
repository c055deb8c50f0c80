"""The licences of what the image holds, from the packages' own metadata: ``docs/licences.md``.

python -m rag_assets_tests.licences          # writes the page's table anew
"""

from __future__ import annotations

import re
from importlib.metadata import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-image.lock"
PAGE = ROOT / "docs" / "licences.md"
HEAD = "| package | licence |\n|---|---|\n"
IMAGE = {"python_full_version": "3.11.13", "python_version": "3.11", "sys_platform": "linux"}
"""What the Dockerfile starts from."""

ALIASES = {
    "Apache 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "BSD-3-Clause, Apache-2.0, dependency licenses": "BSD-3-Clause AND Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "New BSD": "BSD-3-Clause",
    "BSD License": "BSD",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages write, in the words of SPDX. BSD and LGPL where the metadata say no more."""

WEAK_COPYLEFT = {"LGPL", "LGPL-3.0-only", "MPL-2.0"}
ALLOWED = WEAK_COPYLEFT | {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python"),
    *("ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib"),
}


def locked() -> list[str]:
    """Names of the packages that the image installs."""
    lines = re.findall(r"(?m)^([a-z0-9].*?)(?: \\)?$", LOCK.read_text("utf-8"))
    wanted = [Requirement(line) for line in lines]
    return sorted(
        {one.name for one in wanted if one.marker is None or one.marker.evaluate(IMAGE.copy())}
    )


def licence(package: str) -> str:
    """SPDX's expression where the package gives one, else its word for it or its classifiers."""
    about = metadata(package)
    written = about.get("License-Expression") or about.get("License") or ""
    written = ALIASES.get(written, written)
    if written and parts(written) <= ALLOWED:
        return written
    classifiers = [line.split(" :: ")[-1] for line in about.get_all("Classifier", [])]
    return " OR ".join(sorted(ALIASES[one] for one in classifiers if one in ALIASES)) or written


def parts(expression: str) -> set[str]:
    """The single licences of an expression."""
    return set(re.split(r"\s+(?:AND|OR)\s+", expression.replace("(", "").replace(")", "")))


def table() -> str:
    """A row a package."""
    return HEAD + "".join(f"| {name} | {licence(name)} |\n" for name in locked())


if __name__ == "__main__":
    before = PAGE.read_text("utf-8").partition(HEAD)[0]
    PAGE.write_text(before + table(), "utf-8")
