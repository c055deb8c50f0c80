"""Upgrade the embedded server's data to the bundled major version of PostgreSQL.

``pg_upgrade`` copies the data. The old data are not touched until the copy is complete, and are
then kept beside it until an operator removes them.
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
    """A completed upgrade.

    :param kept: the folder with the old data.
    """

    before: int
    after: int
    kept: Path


def upgrade(data_folder: Path) -> Upgrade | None:
    """Upgrade the data; ``None`` if there is nothing to do.

    :raises DatabaseUnusableError: the server is in use, the disk has no room for a copy, the old
        version is not bundled, or ``pg_upgrade`` failed. The old data are unchanged.
    """
    data_folder = data_folder.resolve()
    before, after = embedded.version_of(data_folder), embedded.bundled_version()
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
        # Complete. If interrupted between the last two lines, the next start does the last one.
        upgraded = made.rename(embedded.upgraded_folder(data_folder))
        data_folder.rename(kept)
        upgraded.rename(data_folder)
    return Upgrade(before, after, kept)


def _converted(old: Path, before: int, after: int, work: Path) -> Path:
    """Copy the old folder's data to a new folder, upgraded."""
    new = old.with_name(f"{old.name}.upgrading")
    shutil.rmtree(new, ignore_errors=True)  # left by an interrupted upgrade
    new.mkdir(mode=0o700)
    if user := embedded.system_user():
        shutil.chown(new, user, user)
    new_programs, old_programs = embedded.programs(after), embedded.programs(before)
    checksums = _has_checksums(old_programs, old, work)
    try:
        _run(
            work, new_programs / "initdb", "--auth=trust", "--encoding=utf8", "--username=postgres",
            "--data-checksums" if checksums else "--no-data-checksums", f"--pgdata={new}",
        )  # fmt: skip
        _run(
            work, new_programs / "pg_upgrade", f"--old-bindir={old_programs}",
            f"--new-bindir={new_programs}", f"--old-datadir={old}", f"--new-datadir={new}",
            "--username=postgres", f"--socketdir={work}",
        )  # fmt: skip
    except DatabaseUnusableError:
        shutil.rmtree(new, ignore_errors=True)
        raise
    with (new / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(embedded.CLUSTER_CONF)
    return new


def _has_checksums(programs: Path, data: Path, work: Path) -> bool:
    """Whether the data have checksums: PostgreSQL 18's default, not 16's, and both must agree."""
    output = _run(work, programs / "pg_controldata", f"--pgdata={data}")
    return re.search(r"checksum version:\s+0", output) is None


def _end_cleanly(programs: Path, data: Path, work: Path) -> None:
    """Shut the server down cleanly, after recovery if it was killed: pg_upgrade requires that."""
    where = (f"--pgdata={data}", "--wait", "--timeout=600")
    if not embedded.is_alive(data):  # if it is alive, its last user was killed
        embedded.disown_lock_files(data)
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
    """Lock the data against use by other processes."""
    with data_folder.with_name(f"{data_folder.name}.users").open("a", encoding="utf-8") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseUnusableError(
                f"the data in {data_folder} is in use: stop `rag-assets up` and other commands"
            ) from None
        yield


@contextmanager
def _work_folder() -> Iterator[Path]:
    """A folder for sockets and pg_upgrade's files: a short path, owned by PostgreSQL's user."""
    work = Path(tempfile.mkdtemp(prefix="rag-upgrade-"))
    if user := embedded.system_user():
        shutil.chown(work, user, user)
    try:
        yield work
    finally:
        shutil.rmtree(work)


def _run(work: Path, program: Path, *arguments: str) -> str:
    """Run one of PostgreSQL's programs and return its output."""
    with (work / "output").open("w+", encoding="utf-8") as file:  # a server would keep a pipe open
        done = subprocess.run(
            [program, *arguments],
            user=embedded.system_user(),
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
        file.seek(0)
        output = file.read()
    if done.returncode:
        last = " ".join(output.split())[-500:]
        raise DatabaseUnusableError(f"{program.name} failed, and the data are unchanged: {last}")
    return output
