"""The settings of codes, index, checks, gate and search: a part of
:class:`rag_assets.settings.model.Settings`.

Nothing is read here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, field_validator

IndexProfile = Literal["dev", "prod"]
_MEMORY_SIZE = re.compile(r"([0-9]{1,12})\s*(kB|MB|GB|TB)", re.IGNORECASE)
_KILOBYTES = {"kb": 1, "mb": 1024, "gb": 1024**2, "tb": 1024**3}
_MEMORY_KB = range(64, 2**31)
"""What PostgreSQL takes as ``maintenance_work_mem``."""


def kilobytes(size: str) -> int:
    """Parse a size in PostgreSQL's notation, such as ``2GB``, into kilobytes (2¹⁰ bytes).

    :raises ValueError: it is not in this notation, or PostgreSQL does not take it.
    """
    match = _MEMORY_SIZE.fullmatch(size.strip())
    if match is None:
        raise ValueError("must be a whole number and its unit, such as 2GB or 512MB")
    found = int(match.group(1)) * _KILOBYTES[match.group(2).lower()]
    if found not in _MEMORY_KB:
        raise ValueError("must be from 64kB to 2047GB")
    return found


class IndexSettings(BaseModel):
    """How the corpus is searched, and the quality that this must reach."""

    # Index
    rag_index_profile: IndexProfile = Field(
        "prod",
        description="Number of lists of an index. `dev`: 64. `prod`: rows/1000 up to a million "
        "rows, the square root above that, never under 64 or over 4,000.",
    )
    rag_index_lists: int | None = Field(
        None,
        ge=1,
        le=32768,
        description="Number of lists at the next build, instead of the profile's. It triggers a "
        "build only if the index has the profile's number and that is less than half, or more "
        "than one and a half times, this number.",
    )
    rag_code_bits: int | None = Field(
        None,
        ge=0,
        le=64_000,
        description="Bits of a vector's code, which searches compare first. Unset: the shortest "
        "code that keeps recall, by measurement. `0`: no codes; the index holds the vectors.",
    )
    rag_index_min_rows: int = Field(
        50_000,
        ge=0,
        description="Below this many rows no index is built: a scan of the codes is fast enough. "
        "From there on, the scan is measured. If codes miss the recall floor, an index is built "
        "from 10,000 rows on.",
    )
    rag_index_rebuild_share: float = Field(
        0.2,
        gt=0,
        description="Share of the rows changed since the build that triggers a rebuild.",
    )
    rag_index_maintenance_work_mem: str = Field(
        "2GB",
        description="Memory that an index build may use, set only for its session. If it is too "
        "low, the build is refused before it starts, with the required amount.",
    )
    rag_index_parallel_workers: int = Field(
        2, ge=0, description="Parallel workers of an index build."
    )
    rag_index_query_sample: int = Field(
        200,
        ge=100,
        description="Held-out queries that are used to choose probes and to measure recall and "
        "latency. With 200, the standard error of a recall of 0.95 is about 0.006; each costs a "
        "search in every case, and a comparison with every vector.",
    )
    pg_ivfflat_probes: int | None = Field(
        None,
        ge=1,
        le=32768,
        description="Lists that a query reads, with and without a filter. Unset: tuned by "
        "measurement. A number is judged by the checks like a tuned one, and takes effect with "
        "the next release.",
    )

    # Full text
    rag_text_weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description="What the words of a query count beside its vector in hybrid search, from the "
        "next release on. Unset: 0.35, or what retrieval_quality measured for a language that "
        "the model does not know.",
    )
    rag_text_depth: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Hits of full text search and of vectors that hybrid search merges, at least, "
        "from the next release on. Unset: 100.",
    )

    # Checks and the gate
    rag_quality_floor: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Minimum nDCG@10 of the golden queries, by vectors and by hybrid search, as "
        "the asset retrieval_quality measures it. Unset: the gate does not ask for it.",
    )
    rag_recall_floor: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Minimum recall@10 against exact search of queries mixed from the corpus's own "
        "vectors, with and without filter.",
    )
    rag_slo_p95_ms: float = Field(
        250, gt=0, description="The latency objective: P95 of a search with `top_k` 10, in ms."
    )
    rag_slo_concurrency: int = Field(
        8,
        ge=1,
        le=64,
        description="Concurrent searches at which the latency objective must hold; a single one "
        "is measured, too. Each takes a core of the database server.",
    )
    rag_golden_queries: Path | None = Field(
        Path("samples/golden_queries.toml"),
        description="File of queries with the references that each must find; `none` for no such "
        "queries.",
    )
    rag_golden_floor: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Minimum share of golden queries that exact search must answer.",
    )
    rag_golden_lost_max: int = Field(
        0,
        ge=0,
        description="Number of golden queries answered by exact search that the released search "
        "may lose.",
    )
    rag_golden_agreement: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Deprecated, and ignored if `RAG_GOLDEN_LOST_MAX` is set: minimum share of the "
        "golden queries answered by exact search that the released search must answer, too. This "
        "version is the last one that reads it.",
    )
    rag_index_text_sample: int = Field(
        200,
        ge=0,
        description="Fragments of passages, of seven words, that an index is judged by; half as "
        "many openings, passages searched in other versions, and live queries. Twice as many "
        "others choose its probes. Each is embedded once. 0 for none.",
    )
    rag_fragment_agreement: float = Field(
        0.99,
        ge=0,
        le=1,
        description="Minimum share of these fragments answered by exact search that the released "
        "search must answer, too.",
    )
    rag_opening_agreement: float = Field(
        0.98, ge=0, le=1, description="The same for the first seven words of passages."
    )
    rag_versions_agreement: float = Field(
        0.98,
        ge=0,
        le=1,
        description="The same for passages of one version that are searched in the others.",
    )
    rag_live_queries: bool = Field(
        False,
        description="Judge and tune an index by a sample of the queries that the API was sent, "
        "too. `true` keeps their texts, which may be personal data, in the query cache in "
        "PostgreSQL and nowhere else; `false` deletes them there.",
    )
    rag_live_recall_floor: float = Field(
        0.95,
        ge=0,
        le=1,
        description="Minimum recall@10 against exact search of these live queries.",
    )
    rag_evidence_max_age_h: float = Field(
        168,
        gt=0,
        description="Hours after which the result of a check is too old for a release.",
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
        "", description="Comma-separated version codes; if set, no other version is served."
    )
    rag_search_exact_rows: int | None = Field(
        None,
        ge=0,
        description="A filter that matches at most this many rows is searched exactly. Unset: "
        "what was measured to be fastest: 1,000 rows with codes, 50,000 without.",
    )

    @field_validator("rag_index_maintenance_work_mem")
    @classmethod
    def _is_a_size(cls, value: str) -> str:
        kilobytes(value)
        return value

    def golden_lost_max(self, answered: int) -> int:
        """How many golden queries may be lost, of this many that exact search answers."""
        if self.rag_golden_agreement is None or "rag_golden_lost_max" in self.model_fields_set:
            return self.rag_golden_lost_max
        return int((1 - self.rag_golden_agreement) * answered + 1e-9)

    def deprecated(self) -> dict[str, str]:
        """The deprecated settings that have a value, and what to set instead of each."""
        if self.rag_golden_agreement is None:
            return {}
        return {
            "RAG_GOLDEN_AGREEMENT": "RAG_GOLDEN_LOST_MAX, the number of golden queries that may be "
            "lost"
        }
