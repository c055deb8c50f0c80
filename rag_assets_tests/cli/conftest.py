"""The command line as people run it: the installed program, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import SAMPLES

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(sys.executable).with_name("rag-assets"))


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def workplace(tmp_path: Path, database: Database) -> Path:
    """A folder like a checkout's root, with the samples as versions and the golden queries."""
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(SAMPLES, tmp_path / "bibles")
    (tmp_path / "samples").mkdir()
    shutil.copy(ROOT / "samples/golden_queries.toml", tmp_path / "samples")
    return tmp_path


@pytest.fixture
def environment(database: Database) -> dict[str, str]:
    """A bare environment for the test's own database and the offline embedder."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "RAG_DATABASE_URL": database.conninfo,
        "RAG_EMBEDDING_PROVIDER": "offline",
    }


@pytest.fixture
def run(workplace: Path, environment: dict[str, str]) -> Run:
    """Run ``rag-assets`` with arguments; ``NAME=value`` keywords join the environment."""

    def run(*arguments: str, timeout_s: float = 220, **extra: str) -> Done:
        done = subprocess.run(
            [PROGRAM, *arguments],
            cwd=workplace,
            env=environment | extra,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
