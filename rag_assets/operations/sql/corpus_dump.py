"""Read tables from a ``pg_dump`` archive by ``pg_restore``, without a server."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from psycopg import sql

from rag_assets.errors import ConfigurationError
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Connection

_COPY = re.compile(rb"COPY (?:public\.)?(\S+) \((.*)\) FROM stdin;\n")
_END = b"\\.\n"


@dataclass(frozen=True)
class DumpedTable:
    """The rows of one table in COPY's text format, one line per row."""

    name: str
    columns: tuple[str, ...]
    lines: Iterator[bytes]

    def into(self, connection: Connection, table: str) -> int:
        """Copy all rows into a table with the same columns; return the number of rows."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, self.columns))
        )
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for line in self.lines:
                    copy.write(line)
            return cursor.rowcount

    def rows(self) -> list[dict[str, str]]:
        """Return all rows of a small table whose values need no unescaping."""
        return [
            dict(
                zip(
                    self.columns,
                    line.decode().rstrip("\n").replace("\\\\", "\\").split("\t"),
                    strict=True,
                )
            )
            for line in self.lines
        ]


@contextmanager
def dumped(file: Path, table: str) -> Iterator[DumpedTable]:
    """Open one table of a dump.

    :raises ConfigurationError: ``pg_restore`` cannot read the file, or it lacks the table.
    """
    command = [
        str(embedded.binary("pg_restore")),
        "--data-only",
        "--schema=public",
        f"--table={table}",
        "--file=-",
        str(file),
    ]
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr
        ) as process,
    ):
        out = cast(IO[bytes], process.stdout)
        try:
            header = next((match for match in map(_COPY.fullmatch, out) if match), None)
            if header is None:
                process.wait()
                stderr.seek(0)
                reason = " ".join(stderr.read().decode(errors="replace").split())
                raise ConfigurationError(
                    f"{file} contains no table {table}: dump with pg_dump --format=custom, either "
                    f"everything or the tables that docs/deployment.md lists. {reason}".rstrip()
                )
            columns = tuple(name.strip('"') for name in header[2].decode().split(", "))
            yield DumpedTable(table, columns, _rows(out, file))
        finally:
            process.kill()  # all rows are read, or the caller needs no more


def _rows(out: IO[bytes], file: Path) -> Iterator[bytes]:
    for line in out:
        if line == _END:
            return
        yield line
    raise ConfigurationError(f"{file} is cut off or damaged: pg_restore cannot read it to its end")
