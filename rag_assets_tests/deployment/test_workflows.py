"""GitHub's workflows, as far as they can be judged without GitHub."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def jobs(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))["jobs"]
    return found


def commands() -> list[str]:
    """Every line of shell of every workflow."""
    return [
        line
        for file in FILES
        for job in jobs(file).values()
        for step in job["steps"]
        for line in step.get("run", "").splitlines()
    ]


def audited(*files: Path) -> subprocess.CompletedProcess[str]:
    zizmor = Path(sys.executable).parent / "zizmor"
    return subprocess.run(
        [zizmor, "--offline", "--pedantic", "--strict-collection", "--no-progress", *files],
        capture_output=True,
        text=True,
        check=False,
    )


def test_zizmor_finds_nothing() -> None:
    assert {file.stem for file in FILES} == {"ci", "audit", "release"}
    checked = audited(*FILES)
    assert checked.returncode == 0, checked.stdout


def test_zizmor_would_find_a_pull_request_s_title_in_a_shell(tmp_path: Path) -> None:
    text = (FOLDER / "ci.yml").read_text("utf-8")
    unsafe = tmp_path / "ci.yml"
    unsafe.write_text(
        text.replace("run: make lint", 'run: echo "${{ github.event.pull_request.title }}"')
    )
    found = audited(unsafe)
    assert found.returncode != 0
    assert "template-injection" in found.stdout


def test_every_action_is_pinned_by_its_commit() -> None:
    for file in FILES:
        for used in re.findall(r"uses: (.+)", file.read_text("utf-8")):
            assert PINNED.fullmatch(used), f"{file.name}: {used}"


def test_every_job_ends_by_itself_and_reads_only() -> None:
    for file in FILES:
        assert yaml.safe_load(file.read_text("utf-8"))["permissions"] == {"contents": "read"}
        for name, job in jobs(file).items():
            assert job["timeout-minutes"], f"{file.name}: {name}"
            assert job.get("permissions", {}) in ({}, {"contents": "write"}), name


def test_what_they_call_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for line in commands():
        for target in re.findall(r"\bmake ([\w-]+)", line):
            assert re.search(rf"(?m)^{target}:", makefile), line
        for named in re.findall(r"[\w./-]+\.(?:lock|md)\b|deploy/[\w/-]+", line):
            assert (ROOT / named).exists(), line


def test_each_python_that_the_package_allows_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    tested = jobs(FOLDER / "ci.yml")["test"]["strategy"]["matrix"]["python"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert tested == ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize(("tag", "released"), [("v{}", True), ("v{}1", False), ("v{}-rc1", False)])
def test_a_release_s_tag_is_the_package_s_version(tag: str, released: bool) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (line,) = (line for line in commands() if line.startswith("grep"))
    compared = subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env={"GITHUB_REF_NAME": tag.format(project["version"]), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert (compared.returncode == 0) is released
