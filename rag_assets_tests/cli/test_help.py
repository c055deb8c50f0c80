"""The help of every command and group: examples that parse, and types that say something."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from rag_assets.cli.main import app
from rag_assets_tests.conftest import SAMPLES
from rag_assets_tests.operations import guide

PROGRAM = get_command(app)


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command and group, the program itself with none."""
    yield path
    for name, one in getattr(command, "commands", {}).items():
        yield from walk(one, (*path, name))


def at(path: tuple[str, ...]) -> Any:
    """The command or group of these words."""
    command: Any = PROGRAM
    for name in path:
        command = command.commands[name]
    return command


def examples(path: tuple[str, ...]) -> list[str]:
    """The lines in the fenced blocks of its help."""
    help_ = re.sub(r"(?m)^ {4}", "", at(path).help)
    return [line for block in re.findall(r"^```\n(.*?)^```", help_ + "\n", re.M | re.S)
            for line in block.splitlines()]  # fmt: skip


def parse(words: list[str]) -> tuple[str, ...]:
    """Let the program parse words without running them; the words that named the command."""
    command: Any = PROGRAM
    context, path = None, ()
    while True:
        context = command.make_context(command.name, words, parent=context)
        words = [*context._protected_args, *context.args] if hasattr(command, "commands") else []
        if not words:
            return path
        name, command, words = command.resolve_command(context, words)
        path = (*path, name)


ALL = sorted(walk(PROGRAM))

COMPLETED = """
eval "$(rag-assets --show-completion bash)"
for line in "rag-assets bi" "rag-assets search --corpus b" "rag-assets bible embed EN_"; do
    COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _rag_assets_completion rag-assets
    echo "${COMPREPLY[@]}"
done
"""


def test_the_shell_completes_commands_choices_and_codes_of_versions() -> None:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "RAG_BIBLES_DIR": str(SAMPLES),
    }
    done = subprocess.run(
        ["bash", "-c", COMPLETED], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["bible", "bible both", "EN_SAMPLE"]


def shown(path: tuple[str, ...], option: str = "--help") -> str:
    done = CliRunner().invoke(app, [*path, option], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_an_example_that_parses(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.dump").touch()  # the one file that must exist for its command to be parsed
    lines = examples(path)
    assert lines, f"rag-assets {' '.join(path)} has no example"
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "rag-assets"
        assert parse(words)[: len(path)] == path
        assert not hasattr(at(parse(words)), "commands"), f"{line} names no command"


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_fits_a_terminal_and_its_types_say_something(path: tuple[str, ...]) -> None:
    text = shown(path)
    lines = [line.strip() for line in text.splitlines()]
    assert all(example in lines for example in examples(path)), "an example is wrapped"
    assert "…" not in text, "something is cut"
    assert not re.search(r"<\w+[\w \[\]]*>", text), "a type such as <bool>"
    assert shown(path, "-h") == text


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("bible plan --cheaply", "No such option"),
        ("bible add EN_MINE", "Missing parameter: source"),
        ("search fish --top-k 101", "100"),
        ("search fish --context 11", "10"),
    ],
)
def test_an_example_with_a_mistake_would_not_parse(words: str, fault: str) -> None:
    with pytest.raises(Exception, match=fault):
        parse(shlex.split(words))


def test_the_version_is_that_of_the_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output.strip()) == (0, f"rag-assets {version('rag_assets')}")


@pytest.mark.parametrize("page", guide.PAGES, ids=lambda page: str(page.relative_to(guide.ROOT)))
def test_every_command_that_a_guide_shows_parses(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in guide.commands(page):
        line = shlex.shlex(
            re.sub(r"^(?:\w+=\S+ )*", "", command), posix=True, punctuation_chars=True
        )
        line.whitespace_split = True
        program, *words = itertools.takewhile(lambda word: word not in {"|", ";", "&&", ">"}, line)
        if program == "rag-assets":
            for word in words:
                if word.endswith((".dump", ".toml")):
                    Path(word).touch()  # these must exist for their commands to be parsed
            assert not hasattr(at(parse(words)), "commands"), f"{command} names no command"
