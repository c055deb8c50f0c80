"""Runs as jobs of a Kubernetes cluster, with memory and CPU by their lane.

Named by ``deploy/kubernetes/values.yaml`` and imported by nothing else: it needs the extra
``kubernetes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import (
    USER_DEFINED_K8S_CONFIG_KEY,
    USER_DEFINED_K8S_JOB_CONFIG_SCHEMA,
    UserDefinedDagsterK8sConfig,
)

from rag_assets.lanes import LANE_TAG


class LaneK8sRunLauncher(K8sRunLauncher):
    """``dagster-k8s``'s launcher, which also looks at a run's lane.

    ``lanes`` says by lane what its runs' pods have, over what ``run_k8s_config`` says of all, in
    the form of the tag ``dagster-k8s/config``. A run with that tag has what the tag says.
    """

    def __init__(self, lanes: Mapping[str, Any] | None = None, **config: Any) -> None:
        super().__init__(**config)
        self._lanes = lanes or {}

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """That of the launcher, and ``lanes``."""
        lanes = dg.Field({str: USER_DEFINED_K8S_JOB_CONFIG_SCHEMA}, is_required=False)
        return {**super().config_type(), "lanes": lanes}  # type: ignore[no-untyped-call]

    def get_container_context_for_run(self, dagster_run: dg.DagsterRun) -> K8sContainerContext:
        """What the run's pod is made of: called by Dagster when it launches the run."""
        context = super().get_container_context_for_run(dagster_run)
        lane = self._lanes.get(dagster_run.tags.get(LANE_TAG, ""))
        if lane is None or USER_DEFINED_K8S_CONFIG_KEY in dagster_run.tags:
            return context
        config = UserDefinedDagsterK8sConfig.from_dict(lane)  # type: ignore[no-untyped-call]
        return context.merge(K8sContainerContext(run_k8s_config=config))
