"""The packages in ``integrations/``: in step with the API, and used against a running service."""

from __future__ import annotations

import filecmp
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integrations.generate import DOCUMENT, ENVIRONMENT, PACKAGE, ROOT, document, generate
from rag_assets.api.sql.keys import create_key
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import environment_of, serving

needs_packages = pytest.mark.skipif(
    not (ENVIRONMENT.parent / ".installed").exists(),
    reason="their packages are not installed: `make test-integrations` installs them",
)


def test_the_client_is_generated_from_the_document_of_this_api() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "the API has changed: `make client`"


@pytest.mark.long
@needs_packages
def test_the_generated_package_is_what_the_generator_makes_of_the_document(tmp_path: Path) -> None:
    fresh = tmp_path / "generated"
    generate(fresh)
    files = sorted(path.relative_to(fresh) for path in fresh.rglob("*.py"))
    kept = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    assert len(files) > 40
    assert files == kept, "`make client`"
    _, different, missing = filecmp.cmpfiles(fresh, PACKAGE, files, shallow=False)
    assert (different, missing) == ([], []), "`make client`"


@pytest.fixture(scope="module")
def service(
    stocked: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Where it is and with which key, in environment variables."""
    database = copied(stocked)
    with database.connect() as connection:
        key = create_key(connection, "clients", ("read",), requests_per_minute=100_000)
    with serving(tmp_path_factory.mktemp("clients"), environment_of(database)) as server:
        yield {"RAG_ASSETS_URL": server.origin, "RAG_ASSETS_API_KEY": key}


@pytest.mark.long
@needs_packages
@pytest.mark.parametrize("package", ["client", "langchain", "llama_index"])
def test_a_package_works_with_a_running_service(service: dict[str, str], package: str) -> None:
    ran = subprocess.run(
        [ENVIRONMENT / "pytest", "-q", "-p", "no:cacheprovider", f"{package}/tests"],
        cwd=ROOT / "integrations",
        env={"PATH": "/usr/bin:/bin", **service},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
