"""A supervisor over two small processes, run as a program of its own by the tests.

Each child writes its process id to a file and starts a grandchild that does likewise.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rag_assets.cli.supervisor import Service, Supervisor

_CHILD = """
import os, pathlib, subprocess, sys, time
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with (folder / f"{name}.pids").open("a") as file:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    file.write(f"{os.getpid()} {grandchild.pid}\\n")
time.sleep(600)
"""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    """Supervise two children until told to stop."""
    services = [
        Service(name, [sys.executable, "-c", _CHILD, str(folder), name]) for name in ("one", "two")
    ]
    with (folder / "log").open("wb") as log:
        Supervisor(services, log=log, say=_say, grace_s=5).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
