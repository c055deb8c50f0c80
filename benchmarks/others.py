"""The others' scripts, run in the others' own environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping

from benchmarks.workload import ROOT
from rag_assets.postgres.database import Database

PEERS = ROOT / ".venv-peers" / "bin" / "python"


def peers_database(database: Database) -> str:
    """The address of a new database for them on the same server."""
    peers = database.named("peers")
    peers.create()
    parameters = peers.parameters()
    return f"postgresql://{parameters['user']}@/peers?host={parameters['host']}"


def run_peer(script: str, arguments: list[str]) -> dict[str, float]:
    """What the script's last line says."""
    command = [str(PEERS), str(ROOT / "benchmarks" / "peers" / script), *arguments]
    return last_json(command, {"OPENAI_API_KEY": "sk-test-peer"})


def last_json(command: list[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Run to its end; what its last line says."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
