"""Brings the embedded server's data to the major version of PostgreSQL that serves now.

By ``pg_upgrade``, which copies: until the new data are whole nothing of the old ones is touched,
and then they stand beside them until a person removes them.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rag_assets.errors import DatabaseUnusableError
from rag_assets.postgres import embedded


@dataclass(frozen=True)
class Upgrade:
    """What was done.

    :param kept: where the old data are now.
    """

    before: int
    after: int
    kept: Path


def upgrade(data_folder: Path) -> Upgrade | None:
    """Bring the data over; ``None`` where there is nothing to do.

    :raises DatabaseUnusableError: somebody uses the server, the disk has no room for a copy, the
        package lacks the old version, or ``pg_upgrade`` refuses. The old data are as before.
    """
    data_folder = data_folder.resolve()
    before, after = embedded.version_of(data_folder), embedded.version_brought()
    if before is None or before == after:
        return None
    kept = data_folder.with_name(f"{data_folder.name}-{before}")
    with _exclusive_use(data_folder), _work_folder() as work:
        if kept.exists():
            raise DatabaseUnusableError(
                f"{kept} is in the way, the data of an earlier upgrade: move it away"
            )
        _refuse_without_room(data_folder)
        if embedded.system_user():
            embedded.library().utils.ensure_prefix_permissions(data_folder)
        _end_cleanly(embedded.programs(before), data_folder, work)
        made = _converted(data_folder, before, after, work)
        # Whole from here on. Cut off between the last two lines, the next start does the last.
        upgraded = made.rename(embedded.upgraded_folder(data_folder))
        data_folder.rename(kept)
        upgraded.rename(data_folder)
    return Upgrade(before, after, kept)


def _converted(old: Path, before: int, after: int, work: Path) -> Path:
    """A new folder with all that is in the old one."""
    new = old.with_name(f"{old.name}.upgrading")
    shutil.rmtree(new, ignore_errors=True)  # of an upgrade that was cut off
    new.mkdir(mode=0o700)
    if user := embedded.system_user():
        shutil.chown(new, user, user)
    brought, theirs = embedded.programs(after), embedded.programs(before)
    checksums = _has_checksums(theirs, old, work)
    try:
        _run(
            work, brought / "initdb", "--auth=trust", "--encoding=utf8", "--username=postgres",
            "--data-checksums" if checksums else "--no-data-checksums", f"--pgdata={new}",
        )  # fmt: skip
        _run(
            work, brought / "pg_upgrade", f"--old-bindir={theirs}", f"--new-bindir={brought}",
            f"--old-datadir={old}", f"--new-datadir={new}", "--username=postgres",
            f"--socketdir={work}",
        )  # fmt: skip
    except DatabaseUnusableError:
        shutil.rmtree(new, ignore_errors=True)
        raise
    with (new / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(embedded.CLUSTER_CONF)
    return new


def _has_checksums(programs: Path, data: Path, work: Path) -> bool:
    """PostgreSQL 18 makes them unless told otherwise, 16 did not; both must agree."""
    told = _run(work, programs / "pg_controldata", f"--pgdata={data}")
    return re.search(r"checksum version:\s+0", told) is None


def _end_cleanly(programs: Path, data: Path, work: Path) -> None:
    """Recover what a killed server left, as pg_upgrade takes only what was shut down."""
    where = (f"--pgdata={data}", "--wait", "--timeout=600")
    if not embedded.is_alive(data):  # else its last user was killed and left it behind
        embedded.bury(data)
        sockets = f"--options=-c listen_addresses= -c unix_socket_directories={work}"
        _run(work, programs / "pg_ctl", "start", *where, sockets, f"--log={data}/log")
    _run(work, programs / "pg_ctl", "stop", *where, "--mode=fast")


def _refuse_without_room(data: Path) -> None:
    needed = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    free = shutil.disk_usage(data.parent).free
    if free < 1.1 * needed:
        raise DatabaseUnusableError(
            f"a copy of {data} needs {1.1 * needed / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are "
            "free: make room first"
        )


@contextmanager
def _exclusive_use(data_folder: Path) -> Iterator[None]:
    """The sole use of the data."""
    with data_folder.with_name(f"{data_folder.name}.users").open("a", encoding="utf-8") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseUnusableError(
                f"the data in {data_folder} is in use: stop `rag-assets up` and what else runs"
            ) from None
        yield


@contextmanager
def _work_folder() -> Iterator[Path]:
    """For sockets and pg_upgrade's own files: a short path, and PostgreSQL's user may write."""
    work = Path(tempfile.mkdtemp(prefix="rag-upgrade-"))
    if user := embedded.system_user():
        shutil.chown(work, user, user)
    try:
        yield work
    finally:
        shutil.rmtree(work)


def _run(work: Path, program: Path, *arguments: str) -> str:
    """One of PostgreSQL's programs; what it printed."""
    with (work / "said").open("w+", encoding="utf-8") as said:  # a server keeps a pipe open
        done = subprocess.run(
            [program, *arguments],
            user=embedded.system_user(),
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said.seek(0)
        told = said.read()
    if done.returncode:
        last = " ".join(told.split())[-500:]
        raise DatabaseUnusableError(f"{program.name} failed, and the data are as they were: {last}")
    return told
