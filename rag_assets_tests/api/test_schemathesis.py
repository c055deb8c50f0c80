"""The service conforms to its OpenAPI document for all generated requests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import Server, environment_of, serving
from rag_assets_tests.api.test_keys import new_key

pytestmark = pytest.mark.long

PROGRAM = str(Path(sys.executable).with_name("schemathesis"))
CONFIG = """
# That a version or a book is not there, or a vector has another dimension than the released
# space's, no schema can tell: such requests keep to it and are refused all the same.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 404, 409, 422]

# A list that is too long may also be too large.
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "404", "405", "413", "415", "422"]
"""


@pytest.fixture(scope="module")
def key_and_server(
    bilingual: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Server]]:
    """A service that requires a key, and a valid key."""
    database = copied(bilingual)
    key = new_key(database, "admin", per_minute=1_000_000)
    folder = tmp_path_factory.mktemp("schemathesis")
    environment = environment_of(database, RAG_API_BURST=1_000_000)
    with serving(folder, environment) as running:
        yield key, running


def test_no_generated_request_finds_a_fault(
    key_and_server: tuple[str, Server], tmp_path: Path
) -> None:
    key, server = key_and_server
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    # One worker: Python before 3.11.8 and 3.12.2 may raise SystemError ("AST constructor recursion
    # depth mismatch") where two threads parse code at once, as hypothesis does to print lambdas.
    done = subprocess.run(
        [
            PROGRAM, "run", f"{server.origin}/openapi.json",
            "--header", f"Authorization: Bearer {key}",
            "--phases", "examples,coverage,fuzzing",
            "--max-examples", "40", "--max-time", "45", "--seed", "1",
            "--request-timeout", "30", "--workers", "1", "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )  # fmt: skip
    shown = "\n".join(line[:400] for line in (done.stdout + done.stderr).splitlines())
    assert done.returncode == 0, shown[-8000:]
    assert "unexpected error" not in server.log
