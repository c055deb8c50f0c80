"""Reads tables out of a dump that ``pg_dump`` made, by ``pg_restore`` and without a server."""

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
    """The rows of one table, a line each in COPY's text format, in the order of the columns."""

    name: str
    columns: tuple[str, ...]
    lines: Iterator[bytes]

    def into(self, connection: Connection, table: str) -> int:
        """Copy all rows into a table with such columns; how many."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, self.columns))
        )
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for line in self.lines:
                    copy.write(line)
            return cursor.rowcount

    def rows(self) -> list[dict[str, str]]:
        """All rows of a small table, by column; values without tabs and line ends."""
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
    """One table of a dump.

    :raises ConfigurationError: the file is no dump in a format of ``pg_restore``, or does not hold
        the table.
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
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        ) as process,
    ):
        out = cast(IO[bytes], process.stdout)
        try:
            header = next((match for match in map(_COPY.fullmatch, out) if match), None)
            if header is None:
                process.wait()
                said.seek(0)
                told = " ".join(said.read().decode(errors="replace").split())
                raise ConfigurationError(
                    f"{file} holds no table {table}: dump with pg_dump --format=custom, the whole "
                    f"or the tables that docs/deployment.md lists. {told}".rstrip()
                )
            columns = tuple(name.strip('"') for name in header[2].decode().split(", "))
            yield DumpedTable(table, columns, _rows(out, file))
        finally:
            process.kill()  # it has said all, or nobody listens any more


def _rows(out: IO[bytes], file: Path) -> Iterator[bytes]:
    for line in out:
        if line == _END:
            return
        yield line
    raise ConfigurationError(f"{file} is cut off or damaged: pg_restore cannot read it to its end")
