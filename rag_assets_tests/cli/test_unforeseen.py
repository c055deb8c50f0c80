"""Options out of range, and errors that nobody foresaw, as the command line shows them."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from openai_emulator.faults import FORMS, Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Run
from rag_assets_tests.secrets import shows_part_of

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("bible", "embed", "EN_SAMPLE", "--batch-size", "0"), "at least 1"),
        (("bible", "embed", "EN_SAMPLE", "--batch-size", "4096"), "at most 2048"),
        (("bible", "embed", "EN_SAMPLE", "--limit", "0"), "at least 1"),
        (("index", "build", "--lists", "0"), "at least 1"),
        (("index", "build", "--candidate", "40000"), "at most 32768"),
        (("up", "--port", "65536"), "at most 65535"),
        (("up", "--api-port", "-1"), "at least 0"),
        (("serve", "--port", "70000"), "at most 65535"),
        (("serve", "--workers", "65"), "at most 64"),
        (("exporter", "--port", "70000"), "at most 65535"),
        (("release", "activate", "99999999999"), "at most"),
        (("documents", "list", "--limit", "99999999999"), "at most"),
        (("capacity", "--days", "99999999999"), "at most"),
    ],
)
def test_an_option_out_of_range_is_refused_before_anything_is_opened(
    run: Run, tmp_path: Path, command: tuple[str, ...], said: str
) -> None:
    done = run(*command, RAG_DATABASE_URL=f"host={tmp_path} dbname=x user=u")
    assert done.status == 2
    assert said in " ".join(done.err.replace("│", " ").split()), done.err


def test_options_that_exclude_each_other_are_refused_without_a_run(
    run: Run, database: Database
) -> None:
    done = run("bible", "embed", "EN_SAMPLE", "--small-only", "--large-only")
    assert (done.status, done.err) == (
        1,
        "error: --small-only and --large-only exclude each other: choose one\n",
    )


def test_a_setting_that_is_no_finite_number_is_refused(run: Run) -> None:
    done = run("bible", "list", RAG_EMBEDDING_TIMEOUT_S="inf")
    assert done.status == 1
    assert "RAG_EMBEDDING_TIMEOUT_S: must be a finite number" in done.err


def test_a_socks_proxy_without_its_package_shows_its_reason(
    run: Run, emulator: Emulator, database: Database
) -> None:
    done = run(
        "bible", "embed", "EN_SAMPLE", "--json",
        RAG_EMBEDDING_PROVIDER="openai", OPENAI_API_KEY="sk-test-one",
        OPENAI_BASE_URL=emulator.base_url, ALL_PROXY="socks5://127.0.0.1:9",
    )  # fmt: skip
    assert done.status == 1
    (result,) = json.loads(done.out)
    (failure,) = result["failures"]
    assert failure.startswith("verse_embeddings: ImportError: ")
    assert "socks" in failure.lower()
    assert "Error occurred while executing op" not in failure


def test_an_error_that_nobody_foresaw_shows_trace_class_and_reason(
    run: Run, workplace: Path
) -> None:
    (workplace / "bibles").rename(workplace / "elsewhere")
    (workplace / "bibles").write_text("a file in the place of a folder", encoding="utf-8")
    done = run("bible", "add", "EN_MINE", "elsewhere/EN_SAMPLE")
    assert done.status == 1
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    if "Traceback" in done.err:
        assert "This is a bug in rag-assets: report it with the traceback above" in last


@pytest.fixture
def secret_key(emulator: Emulator) -> Iterator[str]:
    """A key as long and random as a real one, the only valid one."""
    key = f"sk-test-{secrets.token_urlsafe(48)}"
    emulator.keys([key])
    yield key
    emulator.keys(None)


@pytest.mark.parametrize(
    ("status", "form"),
    [(401, "whole"), (404, "base64"), (400, "tail"), (418, "percent"), (200, "upper")],
)
def test_a_provider_that_echoes_the_key_leaves_no_part_of_it_anywhere(
    run: Run,
    workplace: Path,
    database: Database,
    emulator: Emulator,
    secret_key: str,
    status: int,
    form: str,
) -> None:
    assert form in FORMS
    emulator.order(Fault(FaultKind.ECHO, status=status, form=form))
    done = run(
        "bible", "embed", "EN_SAMPLE",
        RAG_EMBEDDING_PROVIDER="openai", OPENAI_API_KEYS=f"{secret_key},sk-test-other",
        USE_API_KEY_ROTATION="true", OPENAI_BASE_URL=emulator.base_url,
        RAG_EMBEDDING_MAX_RETRIES="0", RAG_EMBEDDING_MAX_REJECTED="3",
    )  # fmt: skip
    assert done.status == 1, done.out
    assert emulator.stats().requests > 0
    assert not shows_part_of(done.out + done.err, secret_key)
    for name in (database.name, f"{database.name}_dagster"):
        dump = subprocess.run(
            [embedded.binary("pg_dump"), database.named(name).conninfo],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert "COPY public." in dump
        assert not shows_part_of(dump, secret_key, length=9), name
    logs = [path for path in workplace.rglob("*") if path.is_file() and ".rag" in path.parts]
    assert logs, "the compute logs are there"
    for path in logs:
        assert not shows_part_of(path.read_text("utf-8", "replace"), secret_key), path
