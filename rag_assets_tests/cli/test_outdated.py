"""Options of earlier runbooks are answered with what replaces them, before anything is opened."""

from __future__ import annotations

import subprocess

import pytest
from typer.testing import CliRunner

from rag_assets.cli.main import app
from rag_assets.cli.outdated import present_option
from rag_assets_tests.cli.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "known", "answer"),
    [
        ("--batch_size", {"--batch-size"}, "--batch_size is called --batch-size"),
        ("--delay-ms", {"--sleep"}, "--delay-ms is called --sleep, in seconds"),
        ("--versions", {"--version"}, "--versions is called --version"),
        ("--version", {"--versions"}, "--version is called --versions"),
        ("--delay-ms", {"--limit"}, None),
        ("--rate-limit", {"--limit"}, "no option --rate-limit: set RAG_EMBEDDING_RATE_LIMIT"),
        ("--whatever", {"--limit"}, None),
    ],
)
def test_an_outdated_option_names_the_present_one(
    name: str, known: set[str], answer: str | None
) -> None:
    found = present_option(name, known)
    assert (found is None) if answer is None else (found is not None and answer in found)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("generate_embeddings --versions PT_NAA", "is now `rag-assets bible embed`"),
        ("create_vector_indexes --lists 64", "is now `rag-assets index build`"),
        ("documents requeue --all", "is now `rag-assets documents retry`"),
        ("index build --probes 10", "PG_IVFFLAT_PROBES sets them"),
        ("index build --maintenance_work_mem 4GB", "is called --maintenance-work-mem"),
        ("index build --maintenance-work-mem 4XB", "'4XB' is not a size of memory"),
        ("index build --maintenance-work-mem 99999999GB", "from 64kB to 2047GB"),
        ("index build --precision bit", "precision 'bit' is unknown"),
        ("index build --alter-dim", "--alter-dim needs the dimension"),
        ("index build --dim 99999", "must be at most 4000"),
        (
            "index build --dim 384 --alter-dim",
            "`rag-assets space change --set RAG_EMBEDDING_SMALL_DIMENSIONS=384`",
        ),
        ("bible embed EN_A --only-missing --overwrite", "exclude each other"),
        ("bible embed", "name the versions: codes, or --versions"),
        ("bible embed EN_A --versions PT_*", "name the versions: codes, or --versions"),
        ("bible embed EN_A --max-retries 99", "at most 20"),
        ("bible embed EN_A --sleep -1", "at least 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(
    monkeypatch: pytest.MonkeyPatch, arguments: str, sentence: str
) -> None:
    monkeypatch.setenv("RAG_DATABASE_URL", "postgresql://nowhere.invalid/none")
    done = CliRunner().invoke(app, arguments.split())
    assert done.exit_code in (1, 2)
    assert sentence in " ".join(done.output.replace("│", " ").split())


def test_make_embeddings_generate_embeds_what_is_missing() -> None:
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", "embeddings-generate", "ARGS=--dry-run"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "bible embed --versions 'PT_*,EN_*' --only-missing --dry-run" in done.stdout
