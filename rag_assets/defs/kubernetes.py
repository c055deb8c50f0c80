"""Runs as Kubernetes jobs, with memory and CPU by lane.

Used only by ``deploy/kubernetes/values.yaml``, because it needs the extra ``kubernetes``.
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
    """``dagster-k8s``'s launcher with configuration per lane.

    ``lanes`` maps a lane to pod configuration in the format of the tag ``dagster-k8s/config``. It
    is merged over ``run_k8s_config``; the tag itself takes precedence.
    """

    def __init__(self, lanes: Mapping[str, Any] | None = None, **config: Any) -> None:
        super().__init__(**config)
        self._lanes = lanes or {}

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """The launcher's configuration, and ``lanes``."""
        lanes = dg.Field({str: USER_DEFINED_K8S_JOB_CONFIG_SCHEMA}, is_required=False)
        return {**super().config_type(), "lanes": lanes}  # type: ignore[no-untyped-call]

    def get_container_context_for_run(self, dagster_run: dg.DagsterRun) -> K8sContainerContext:
        """Return the configuration of a run's pod; called by Dagster to launch it."""
        context = super().get_container_context_for_run(dagster_run)
        lane = self._lanes.get(dagster_run.tags.get(LANE_TAG, ""))
        if lane is None or USER_DEFINED_K8S_CONFIG_KEY in dagster_run.tags:
            return context
        config = UserDefinedDagsterK8sConfig.from_dict(lane)  # type: ignore[no-untyped-call]
        return context.merge(K8sContainerContext(run_k8s_config=config))
