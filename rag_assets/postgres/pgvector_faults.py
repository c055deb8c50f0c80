"""Known faults of pgvector, how each affects this project, and what to do about it. Pure.

From pgvector's CHANGELOG, without CVE-2026-18022 (fixed in 0.8.6), which only affects 32-bit
systems, and without faults in functions that this project does not use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag_assets.postgres.migrations import ServerVersions


@dataclass(frozen=True)
class Fault:
    """One fault of earlier versions.

    :param fixed_in: the first version without it.
    :param affects: how it affects this project.
    :param postgres: the first major version of PostgreSQL with which it occurs.
    """

    fixed_in: str
    what: str
    affects: str
    postgres: int = 0


FAULTS = (
    Fault(
        "0.8.2",
        "CVE-2026-3172, a buffer overflow in parallel HNSW index builds",
        "no index of this project is HNSW; another user of the server who may create one can read "
        "other tables' data or crash the server",
    ),
    Fault(
        "0.8.3",
        "slow Hamming distance on PostgreSQL 18",
        "searches by binary codes, where they are used, take longer",
        postgres=18,
    ),
    Fault(
        "0.8.4",
        "IVFFlat index builds that exceed maintenance_work_mem",
        "an index build can take more memory than RAG_INDEX_MAINTENANCE_WORK_MEM",
    ),
    Fault(
        "0.8.7",
        "a buffer overflow in IVFFlat index builds",
        "an index build can crash the server, and so can any other user who may create an index",
    ),
)
NEWEST = FAULTS[-1].fixed_in
"""The first version without any of them."""


@dataclass(frozen=True)
class PgvectorVerdict:
    """The verdict on the server's pgvector.

    :param version: version of the library that the server loads.
    :param faults: its known faults.
    :param outdated: the version of the extension's SQL in this database if the library is newer.
    """

    version: str
    faults: tuple[Fault, ...]
    outdated: str | None

    @property
    def problem(self) -> str:
        """What is wrong, in one sentence; empty if nothing is."""
        if self.faults:
            return f"pgvector {self.version} has known faults: " + "; ".join(
                f"{fault.what}, fixed in {fault.fixed_in} ({fault.affects})"
                for fault in self.faults
            )
        if self.outdated is not None:
            return (
                f"the server has pgvector {self.version}, and this database still uses the "
                f"functions and types of {self.outdated}"
            )
        return ""

    def remedy(self, *, embedded: bool) -> str:
        """What to do; empty if nothing is wrong."""
        update = '`rag-assets db psql -- -c "ALTER EXTENSION vector UPDATE"`'
        if self.faults and embedded:
            return (
                "nothing to do: the embedded server has no newer pgvector yet. A server of your "
                f"own with pgvector {NEWEST} or newer has none of them: RAG_DATABASE_URL"
            )
        if self.faults:
            return (
                f"install pgvector {NEWEST} or newer on the server, restart the server, then "
                f"{update}"
            )
        return update if self.outdated is not None else ""


def judge_pgvector(found: ServerVersions) -> PgvectorVerdict | None:
    """Judge this server's pgvector; ``None`` if it has none.

    Faults in the C code depend on the library on the server's disk, whatever version of the
    extension's SQL a database has.
    """
    known = [name for name in (found.pgvector, found.pgvector_library) if name is not None]
    if not known:
        return None
    version = max(known, key=_parts)
    faults = tuple(
        fault
        for fault in FAULTS
        if _parts(version) < _parts(fault.fixed_in) and found.postgres_major >= fault.postgres
    )
    behind = found.pgvector is not None and _parts(found.pgvector) < _parts(version)
    return PgvectorVerdict(version, faults, found.pgvector if behind else None)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
