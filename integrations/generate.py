"""Generate the Python client from the API's OpenAPI document.

``make client`` runs it. The document is kept beside the client, so that a change of the API shows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rag_assets.api.app import create_app
from rag_assets.settings.model import Settings

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "integrations" / "client" / "openapi.json"
PACKAGE = ROOT / "integrations" / "client" / "rag_assets_client" / "generated"
CONFIG = ROOT / "integrations" / "client" / "generator.yaml"
ENVIRONMENT = ROOT / ".venv-integrations" / "bin"


def document() -> str:
    """The API's OpenAPI document."""
    described = create_app(Settings(_env_file=None)).openapi()
    return json.dumps(described, ensure_ascii=False, indent=1) + "\n"


def generate(target: Path, source: Path = DOCUMENT) -> None:
    """Generate the package from a document into a folder that does not exist yet."""
    program = ENVIRONMENT / "openapi-python-client"
    subprocess.run(
        [program, "generate", "--path", source, "--config", CONFIG, "--meta", "none",
         "--output-path", target, "--fail-on-warning"],
        check=True,
        env={"PATH": f"{ENVIRONMENT}:/usr/bin:/bin"},  # it formats with the ruff beside it
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> int:
    """Write document and package."""
    DOCUMENT.write_text(document(), encoding="utf-8")
    with TemporaryDirectory(dir=PACKAGE.parent) as folder:
        fresh = Path(folder) / PACKAGE.name
        generate(fresh)
        shutil.rmtree(PACKAGE, ignore_errors=True)
        fresh.rename(PACKAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
