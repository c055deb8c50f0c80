"""The settings of codes, index, checks, gate and search: a part of
:class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

IndexProfile = Literal["dev", "prod"]


class IndexSettings(BaseModel):
    """What is searched and how, and what it must reach."""

    # Index
    rag_index_profile: IndexProfile = Field(
        "prod",
        description="How many lists an index has. `dev`: 64. `prod`: rows/1000 to a million "
        "rows, the square root above, never under 64 or over 4,000.",
    )
    rag_index_lists: int | None = Field(
        None,
        ge=1,
        le=32768,
        description="A number of lists in the place of the profile's, at the next build. It "
        "triggers one only where the index has the profile's number and that is under half, "
        "or over one and a half times, this.",
    )
    rag_code_bits: int | None = Field(
        None,
        ge=0,
        le=64_000,
        description="Bits of a vector's code, by which searches find their candidates. Unset: "
        "the shortest that keep recall, by measurement. `0`: no codes; the index holds the "
        "vectors.",
    )
    rag_index_min_rows: int = Field(
        50_000,
        ge=0,
        description="Below this many rows no index is built: a scan of the codes is fast enough. "
        "From here on the scan is measured. Where codes miss the recall floor, an index is built "
        "from 10,000 rows on.",
    )
    rag_index_rebuild_share: float = Field(
        0.2,
        gt=0,
        description="Share of the rows whose change since the build calls for another build.",
    )
    rag_index_maintenance_work_mem: str = Field(
        "2GB",
        description="Memory that an index build may use, set for its session only. Too little is "
        "refused before anything is built, with the figure that is needed.",
    )
    rag_index_parallel_workers: int = Field(
        2, ge=0, description="Parallel workers of an index build."
    )
    rag_index_query_sample: int = Field(
        200,
        ge=100,
        description="Held-out queries by which probes are chosen, and recall and latency judged. "
        "With 200 the standard error of a recall of 0.95 is about 0.006; each costs a search of "
        "every case, and a comparison with every vector.",
    )
    pg_ivfflat_probes: int | None = Field(
        None,
        ge=1,
        le=32768,
        description="Lists that a query reads, with and without a filter. Unset: as tuned by "
        "measurement. A number is judged by the checks like a tuned one, and serves from the "
        "next release on.",
    )

    # Checks and the gate
    rag_recall_floor: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Least recall@10 against exact search, with and without filter.",
    )
    rag_slo_p95_ms: float = Field(
        250, gt=0, description="The latency objective: P95 of a search with `top_k` 10, in ms."
    )
    rag_slo_concurrency: int = Field(
        8,
        ge=1,
        le=64,
        description="Searches at once at which the latency objective must hold; one alone is "
        "measured beside them. Each takes a core of the database server.",
    )
    rag_golden_queries: Path | None = Field(
        Path("samples/golden_queries.toml"),
        description="File of queries with the references that each must find; `none` does without.",
    )
    rag_golden_floor: float = Field(
        0.5, ge=0, le=1, description="Least share of golden queries that exact search must answer."
    )
    rag_golden_agreement: float = Field(
        1,
        ge=0,
        le=1,
        description="Minimum share of the golden queries answered by exact search that the "
        "released search must answer, too.",
    )
    rag_index_text_sample: int = Field(
        120,
        ge=0,
        description="Fragments of passages, of seven words, by which an index is judged as users "
        "ask; three times as many choose its probes. Each is embedded once. 0 for none.",
    )
    rag_fragment_agreement: float = Field(
        0.98,
        ge=0,
        le=1,
        description="Minimum share of these fragments answered by exact search that the released "
        "search must answer, too.",
    )
    rag_evidence_max_age_h: float = Field(
        168,
        gt=0,
        description="Hours after which a check's result no longer lets a release through.",
    )
    rag_release_leave_out_failing: bool = Field(
        False,
        description="A version whose checks fail is left out of the release; `false` refuses "
        "the whole release.",
    )
    rag_releases_kept: int = Field(
        2,
        ge=1,
        description="Earlier releases whose indexes are kept for a rollback.",
    )

    # Retrieval
    rag_allowed_versions: str = Field(
        "", description="Comma-separated version codes; when set, no other version is served."
    )
    rag_search_exact_rows: int | None = Field(
        None,
        ge=0,
        description="A filter that passes at most this many rows is searched exactly. Unset, "
        "where that was measured to be fastest: 1,000 rows beside codes, 50,000 without.",
    )
