"""What Dagster's chart makes of ``deploy/kubernetes/values.yaml``: its dagster.yaml and its pods.

Written after the chart's templates (configmap-instance, deployment-daemon, deployment-webserver,
deployment-user of the 1.13 series), as far as the values use them: Helm is not at hand where the
tests run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
ANY = "0.0.0.0"  # noqa: S104
SECURE = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
IMAGE = "registry.example.org/rag_assets:1.0.0"
VERSIONS = ("1.31", "1.37")
"""Of Kubernetes, whose schemas are asked."""
GRPC_HEALTH = ["dagster", "api", "grpc-health-check", "-p"]


def values() -> dict[str, Any]:
    """The values, without the parts that are only anchors."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text("utf-8"))
    return loaded


def instance() -> dict[str, Any]:
    """The chart's dagster.yaml."""
    given = values()
    postgres, daemon = given["postgresql"], given["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    monitoring, retries = daemon["runMonitoring"], daemon["runRetries"]
    storage = {
        "postgres_db": {
            "username": postgres["postgresqlUsername"],
            "password": {"env": "DAGSTER_PG_PASSWORD"},
            "hostname": postgres["postgresqlHost"],
            "db_name": postgres["postgresqlDatabase"],
            "port": postgres["service"]["port"],
            "params": postgres["postgresqlParams"],
            "scheme": postgres["postgresqlScheme"],
        }
    }
    return {
        "scheduler": {
            "module": "dagster.core.scheduler",
            "class": "DagsterDaemonScheduler",
        },
        "schedule_storage": _class("schedule_storage", "PostgresScheduleStorage", storage),
        "run_storage": _class("run_storage", "PostgresRunStorage", storage),
        "event_log_storage": _class("event_log", "PostgresEventLogStorage", storage),
        "run_launcher": given["runLauncher"]["config"]["customRunLauncher"],
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {
                "max_concurrent_runs": queue["maxConcurrentRuns"],
                "tag_concurrency_limits": queue["tagConcurrencyLimits"],
                "dequeue_interval_seconds": queue["dequeueIntervalSeconds"],
                "dequeue_use_threads": queue["dequeueUseThreads"],
            },
        },
        "compute_logs": {
            "module": "dagster.core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "run_monitoring": {
            "enabled": monitoring["enabled"],
            "start_timeout_seconds": monitoring["startTimeoutSeconds"],
            "poll_interval_seconds": monitoring["pollIntervalSeconds"],
            "free_slots_after_run_end_seconds": monitoring["freeSlotsAfterRunEndSeconds"],
        },
        "run_retries": {
            "enabled": retries["enabled"],
            "max_retries": retries["maxRetries"],
            "retry_on_asset_or_op_failure": retries["retryOnAssetOrOpFailure"],
        },
        "sensors": _threads(daemon["sensors"]),
        "schedules": _threads(daemon["schedules"]),
        "telemetry": given["telemetry"],
        **given["additionalInstanceConfig"],
    }


def _class(module: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": f"dagster_postgres.{module}", "class": name, "config": config}


def _threads(given: dict[str, Any]) -> dict[str, Any]:
    return {"use_threads": given["useThreads"], "num_workers": given["numWorkers"]}


def pods() -> dict[str, dict[str, Any]]:
    """The deployments of the chart by name: webserver, daemon and code location."""
    given = values()
    webserver, daemon = given["dagsterWebserver"], given["dagsterDaemon"]
    (code,) = given["dagster-user-deployments"]["deployments"]
    workspace = "/dagster-workspace/workspace.yaml"
    port = str(code["port"])
    health = {"exec": {"command": [*GRPC_HEALTH, port]}}
    return {
        "webserver": _deployment(
            "webserver",
            webserver,
            f"dagster-webserver -h {ANY} -p {webserver['service']['port']} -w {workspace}".split(),
            waits_for=code["name"],
        ),
        "daemon": _deployment(
            "daemon", daemon, ["dagster-daemon", "run", "-w", workspace], waits_for=code["name"]
        ),
        "code": _deployment(
            "code",
            {
                **code,
                **{
                    probe: {**health, **code[probe]}
                    for probe in ("startupProbe", "readinessProbe", "livenessProbe")
                },
            },
            [*f"dagster api grpc -h {ANY} -p {port}".split(), *code["dagsterApiGrpcArgs"]],
        ),
    }


def _deployment(
    name: str, given: dict[str, Any], command: list[str], *, waits_for: str | None = None
) -> dict[str, Any]:
    image = given["image"]
    container = {
        "name": name,
        "image": f"{image['repository']}:{image['tag']}",
        "imagePullPolicy": image["pullPolicy"],
        "command": command,
        "env": [
            {
                "name": "DAGSTER_PG_PASSWORD",
                "valueFrom": {
                    "secretKeyRef": {
                        "name": values()["global"]["postgresqlSecretName"],
                        "key": "postgresql-password",
                    }
                },
            }
        ],
        "envFrom": [{"configMapRef": source} for source in given["envConfigMaps"]],
        "resources": given["resources"],
        "securityContext": given["securityContext"],
        "volumeMounts": given["volumeMounts"],
    }
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        container[probe] = {key: part for key, part in given[probe].items() if key != "enabled"}
    spec = {
        "securityContext": given["podSecurityContext"],
        "containers": [container],
        "volumes": given["volumes"],
    }
    if waits_for is not None:
        spec["initContainers"] = [
            {
                "name": f"init-user-deployment-{waits_for}",
                "image": "docker.io/busybox:1.28",
                "command": ["sh", "-c", f"until nslookup {waits_for}; do sleep 2; done"],
                "securityContext": given["securityContext"],
                "resources": given["initContainerResources"],
            }
        ]
    labels = {"component": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": given.get("deploymentStrategy", {}),
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def run_pod() -> dict[str, Any]:
    """A run's pod by the launcher's configuration, before it is merged by Dagster."""
    config = instance()["run_launcher"]["config"]
    container = config["run_k8s_config"]["container_config"] | {
        "name": "run",
        "image": IMAGE,
        "securityContext": config["security_context"],
        "volumeMounts": config["volume_mounts"],
        "envFrom": [{"configMapRef": {"name": name}} for name in config["env_config_maps"]],
    }
    return config["run_k8s_config"]["pod_spec_config"] | {
        "containers": [container],
        "volumes": config["volumes"],
        "serviceAccountName": config["service_account_name"],
    }
