"""Launchpad options for one run of an index asset."""

from typing import Annotated, cast

from pydantic import Field

from rag_assets.defs.run_config import RunConfig, within
from rag_assets.index.build_size import check_build
from rag_assets.index.maintain import IndexRequest
from rag_assets.settings.model import Precision


class IndexConfig(RunConfig):
    """Empty fields leave the decision to the policy and the settings (see docs/index.md)."""

    lists: Annotated[int | None, within("rag_index_lists")] = Field(
        None, description="Build now, with this many lists."
    )
    lists_candidates: list[Annotated[int, within("rag_index_lists")]] = Field(
        default_factory=list,
        description="Build immediately with each of these numbers of lists, and keep the fastest "
        "that reaches the recall.",
    )
    maintenance_work_mem: str | None = Field(
        None,
        description="Memory for this build, such as 4GB. Setting: RAG_INDEX_MAINTENANCE_WORK_MEM "
        "(2GB).",
    )
    precision: str | None = Field(
        None,
        description="Build immediately with this precision; halfvec indexes a vector space in half "
        "the bytes.",
    )
    force: bool = Field(False, description="Build immediately, whatever the policy decides.")

    def check(self) -> None:
        """Raise the errors of :meth:`request`."""
        self.request()

    def request(self) -> IndexRequest:
        """Convert to a plain request.

        :raises ConfigurationError: the precision or the size of memory is invalid.
        """
        check_build(maintenance_work_mem=self.maintenance_work_mem, precision=self.precision)
        return IndexRequest(
            lists=self.lists,
            lists_candidates=tuple(self.lists_candidates),
            precision=cast("Precision | None", self.precision),
            maintenance_work_mem=self.maintenance_work_mem,
            force=self.force,
        )
