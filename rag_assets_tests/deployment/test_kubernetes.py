"""The manifests and the chart's values, as far as they can be judged without a cluster.

Against Kubernetes' own schemas, the chart's, and Dagster itself: what the values say of it is its
real instance here, whose launcher sends a real run's job to a server that takes it down.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import kubernetes_validate
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from rag_assets.defs.operations.dagster_runs import fault_of
from rag_assets.documents.rules import LARGE, PROCESSING
from rag_assets.settings import Settings
from rag_assets.store.dagster_state import BIBLE_LANE, LANE_TAG, runs_under_way
from rag_assets.store.database import Database
from rag_assets_tests.deployment import chart, compose

ROOT = compose.ROOT
VERSIONS = ("1.31", "1.37")
LANES = {PROCESSING, LARGE, BIBLE_LANE}
MADE_BY_THE_CHART = {"dagster-instance", "dagster-pipeline-env"}
MADE_BY_HAND = {"rag-database-ca"}
SECURE = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
IMAGE = "registry.example.org/rag_assets:0.1.0"


def manifests() -> list[dict[str, Any]]:
    """What kustomization.yaml names, in its order."""
    named = yaml.safe_load((chart.FOLDER / "kustomization.yaml").read_text("utf-8"))["resources"]
    return [
        manifest
        for name in named
        for manifest in yaml.safe_load_all((chart.FOLDER / name).read_text("utf-8"))
    ]


def kind(name: str) -> dict[str, dict[str, Any]]:
    """Manifests of one kind by name."""
    return {one["metadata"]["name"]: one for one in manifests() if one["kind"] == name}


def templates() -> dict[str, dict[str, Any]]:
    """Every pod that is made, by name: ours, the chart's, and those of runs."""
    ours = {**kind("Deployment"), **kind("Job")}
    made = {name: one["spec"]["template"]["spec"] for name, one in (ours | chart.pods()).items()}
    return made | {"run": run_pod()}


def run_pod() -> dict[str, Any]:
    """A run's pod by the launcher's configuration, before it is merged by Dagster."""
    config = chart.instance()["run_launcher"]["config"]
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


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """All containers, with the name of their pod."""
    for name, spec in templates().items():
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            yield name, container


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest_and_every_pod_of_the_chart(version: str) -> None:
    for manifest in [*manifests(), *chart.pods().values()]:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_is_refused() -> None:
    manifest = deepcopy(kind("Deployment")["rag-api"])
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_kustomize_builds_them_with_the_image_that_the_values_name() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed here")
    built = subprocess.run(
        [kubectl, "kustomize", chart.FOLDER], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    made = list(yaml.safe_load_all(built.stdout))
    assert len(made) == len(manifests())
    images = {
        container["image"]
        for one in made
        if one["kind"] in ("Deployment", "Job")
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    named = {container["image"] for _, container in containers()} - {"rag_assets"}
    assert images == {IMAGE}
    assert {image for image in named if "busybox" not in image} == {IMAGE}


def test_the_chart_takes_the_values_and_would_refuse_a_misspelt_one() -> None:
    schema = json.loads((Path(__file__).parent / "chart_values.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    given = chart.values()
    jsonschema.validate(given, schema)
    given["dagsterDaemon"]["runMonitoring"]["pollInterval"] = 20
    with pytest.raises(jsonschema.ValidationError, match="pollInterval"):
        jsonschema.validate(given, schema)


def test_every_container_is_bounded_and_may_do_nothing_that_it_need_not() -> None:
    for name, container in containers():
        assert container["securityContext"] == SECURE, name
        resources = container["resources"]
        assert resources["limits"]["memory"], name
        assert set(resources["requests"]) == {"cpu", "memory"}, name
    for name, spec in templates().items():
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] == security["runAsGroup"] == 10001, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        if name.startswith("rag-"):
            assert spec["automountServiceAccountToken"] is False, name


def test_whatever_stays_up_is_probed() -> None:
    deployments = {**kind("Deployment"), **chart.pods()}
    assert set(deployments) == {"rag-api", "rag-exporter", "webserver", "daemon", "code"}
    for name, deployment in deployments.items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        ports = {port["name"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[probe]
            if name.startswith("rag-"):
                assert asked["httpGet"]["port"] in ports, name
            else:
                assert asked.get("httpGet") or asked["exec"]["command"], name
    (api,) = deployments["rag-api"]["spec"]["template"]["spec"]["containers"]
    assert api["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert api["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_a_pod_that_ends_has_time_for_the_requests_in_flight() -> None:
    spec = kind("Deployment")["rag-api"]["spec"]["template"]["spec"]
    (pause,) = re.findall(r"\d+", str(spec["containers"][0]["lifecycle"]["preStop"]))
    shutdown = Settings.model_fields["rag_api_shutdown_s"].default
    assert spec["terminationGracePeriodSeconds"] > int(pause) + shutdown


def test_commands_are_those_that_compose_starts() -> None:
    ours = {name: list(service["command"]) for name, service in compose.ours().items()}
    ours["api"][-1] = "1"  # more pods rather than more workers
    here = {name: one["spec"]["template"]["spec"] for name, one in chart.pods().items()}
    for name, one in {**kind("Deployment"), **kind("Job")}.items():
        here[name.removeprefix("rag-")] = one["spec"]["template"]["spec"]
    for name in ("api", "exporter", "migrate"):
        assert here[name]["containers"][0]["command"] == ours[name], name
    for name in ("webserver", "daemon", "code"):
        words = here[name]["containers"][0]["command"]
        assert words[0] == ours[name][0], name
        assert _options(words) == _options(ours[name]), name


def _options(words: list[str]) -> set[str]:
    """Subcommands and options, without their values: hosts, ports and files differ."""
    return {
        word
        for before, word in zip(["", *words], words, strict=False)
        if word.startswith("-") or not before.startswith("-")
    }


def test_everything_that_is_mounted_or_read_is_there() -> None:
    config_maps = {name: set(one["data"]) for name, one in kind("ConfigMap").items()}
    secrets = documented_secrets()
    for name, spec in templates().items():
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in kind("PersistentVolumeClaim"), name
            for source in volume.get("projected", {}).get("sources", ()):
                if secret := source.get("secret"):
                    keys = {item["key"] for item in secret.get("items", ())}
                    assert keys <= secrets[secret["name"]], name
                else:
                    assert source["configMap"]["name"] in MADE_BY_HAND, name
        for container in spec["containers"]:
            for mount in container["volumeMounts"]:
                assert mount["name"] in volumes, f"{name}: {mount}"
            for source in container["envFrom"]:
                assert source["configMapRef"]["name"] in set(config_maps) | MADE_BY_THE_CHART
            for variable in container.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("configMapKeyRef"):
                    assert reference["key"] in config_maps[reference["name"]], name
    assert chart.values()["global"]["postgresqlSecretName"] in secrets
    assert "postgresql-password" in secrets["rag-owner"]


def documented_secrets() -> dict[str, set[str]]:
    """Secrets that docs/deployment.md has made, with their keys."""
    text = (ROOT / "docs" / "deployment.md").read_text("utf-8").replace("\\\n", " ")
    made = re.findall(r"kubectl create secret generic (\S+)(.*)", text)
    assert all(f"kubectl create configmap {name} " in text for name in MADE_BY_HAND)
    return {name: set(re.findall(r"--from-file=([\w-]+)", rest)) for name, rest in made}


def test_a_secret_s_file_is_named_like_its_setting_and_no_value_stands_anywhere() -> None:
    for name, spec in templates().items():
        for volume in spec["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                if secret := source.get("secret"):
                    files = [item["path"] for item in secret.get("items", ())]
                    named = files or documented_secrets()[secret["name"]]
                    assert set(named) <= set(Settings.model_fields), name
    assert not kind("Secret")
    for path in chart.FOLDER.rglob("*.yaml"):
        assert not re.search(r"(?i)(password|api_key):\s*[^\s#{\[]", path.read_text("utf-8")), path


def test_settings_are_settings_and_all_mean_one_database() -> None:
    data = kind("ConfigMap")["rag-settings"]["data"]
    known = {name.upper() for name in Settings.model_fields} | {"RAG_SECRETS_DIR"}
    assert set(data) <= known
    for _, container in containers():
        for variable in container.get("env", ()):
            assert variable["name"] in known | {"DAGSTER_PG_PASSWORD"}
    by_role = kind("ConfigMap")["rag-database"]["data"]
    owner, api, monitor = (
        conninfo_to_dict(url)
        for url in (data["RAG_DATABASE_URL"], by_role["api"], by_role["monitor"])
    )
    postgres = chart.values()["postgresql"]
    assert owner | {"user": "rag_api"} == api
    assert owner | {"user": "rag_monitor"} == monitor
    assert owner["user"] == postgres["postgresqlUsername"]
    assert owner["host"] == postgres["postgresqlHost"]
    assert owner["port"] == str(postgres["service"]["port"])
    assert f"{owner['dbname']}_dagster" == postgres["postgresqlDatabase"]
    assert postgres["postgresqlParams"].items() <= owner.items()
    assert owner["sslmode"] == "verify-full"


def test_the_limits_are_those_of_one_machine() -> None:
    here = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    there = chart.instance()
    assert there["run_coordinator"]["config"] == here["run_queue"]
    for part in ("run_monitoring", "run_retries", "sensors", "telemetry", "nux"):
        assert there[part] == here[part], part
    limits = here["run_queue"]["tag_concurrency_limits"]
    lanes = there["run_launcher"]["config"]["lanes"]
    assert {limit["value"] for limit in limits} == set(lanes) == LANES


def test_policies_name_pods_and_ports_that_there_are() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in kind("Deployment").values()]
    labels += [
        {"component": name} for name in ("dagster-webserver", "dagster-daemon", "user-deployments")
    ]
    ports = {"dagster-webserver": chart.values()["dagsterWebserver"]["service"]["port"]}
    (code,) = chart.values()["dagster-user-deployments"]["deployments"]
    ports["code-location"] = code["port"]
    for name, policy in kind("NetworkPolicy").items():
        chosen = policy["spec"]["podSelector"].get("matchLabels", {})
        assert not chosen or any(chosen.items() <= each.items() for each in labels), name
        for rule in policy["spec"].get("ingress", ()):
            (port,) = rule["ports"]
            assert port["port"] in ("http", "metrics", ports.get(name)), name
    for service in kind("Service").values():
        chosen = service["spec"]["selector"]
        assert any(chosen.items() <= each.items() for each in labels)


def test_the_operator_s_objects_name_our_services_and_our_rules() -> None:
    folder = chart.FOLDER / "prometheus-operator"
    services = kind("Service")
    for monitor in yaml.safe_load_all((folder / "monitors.yaml").read_text("utf-8")):
        service = services[monitor["metadata"]["name"]]
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert wanted <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    rules = (ROOT / "monitoring" / "rules.yml").read_text("utf-8")
    head = (folder / "rules-head.yaml").read_text("utf-8")
    whole = yaml.safe_load(head + re.sub(r"(?m)^", "  ", rules))
    assert whole["spec"] == yaml.safe_load(rules)


class Cluster(ThreadingHTTPServer):
    """Takes down every object that it is asked to make, as Kubernetes' API would.

    Of each it then tells that its pod needed more memory than its limit.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.made: list[tuple[str, dict[str, Any]]] = []

    def told(self, path: str) -> dict[str, Any]:
        """The answer to a question."""
        if "/pods" in path:
            killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
            container = {"name": "dagster", "state": killed, "ready": False, "restartCount": 0}
            container |= {"image": IMAGE, "imageID": IMAGE}
            pod = {
                "metadata": {"name": "run-pod"},
                "spec": {"containers": [{"name": "dagster"}]},
                "status": {"phase": "Failed", "containerStatuses": [container]},
            }
            return {"apiVersion": "v1", "kind": "PodList", "items": [pod]}
        if "/events" in path:
            return {"apiVersion": "v1", "kind": "EventList", "items": []}
        return self.made[-1][1] | {"status": {"failed": 1}}


class _Requests(BaseHTTPRequestHandler):
    server: Cluster

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.made.append((self.path, json.loads(body)))
        self._answer(201, body)

    def do_GET(self) -> None:
        self._answer(200, json.dumps(self.server.told(self.path)).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    server = Cluster()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def dagster_home(folder: Path, cluster: Cluster, dagster: Database) -> None:
    """The chart's dagster.yaml, with this machine's database and the cluster above.

    Runs are launched at once: no daemon looks after the queue here.
    """
    server = {"server": f"http://127.0.0.1:{cluster.server_port}"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": server}],
        "users": [{"name": "here", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    instance = deepcopy(chart.instance())
    instance["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(folder / "kubeconfig"),
    }
    instance["run_coordinator"] = {
        "module": "dagster.core.run_coordinator",
        "class": "DefaultRunCoordinator",
    }
    instance["local_artifact_storage"]["config"]["base_dir"] = str(folder / "artifacts")
    parts = dagster.parameters()
    for storage in ("run_storage", "event_log_storage", "schedule_storage"):
        instance[storage]["config"]["postgres_db"] |= {
            "hostname": "",
            "username": parts["user"],
            "db_name": dagster.name,
            "params": {"host": parts["host"]},
        }
    (folder / "dagster.yaml").write_text(yaml.safe_dump(instance))


def _told_by_the_monitor(home: Path) -> str:
    """What Dagster's monitoring of runs would write of the one run: from its launcher's words."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        health = instance.run_launcher.check_run_worker_health(run)
        assert health.status.name == "FAILED"
        told = instance.run_launcher.get_run_worker_debug_info(run, include_container_logs=False)
        return f"Detected run worker status {health}.\n{told}"


@pytest.mark.slow
def test_a_run_is_a_job_with_what_its_lane_has_and_its_end_is_understood(
    tmp_path: Path, cluster: Cluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster = database.named(f"{database.name}_dagster")
    dagster.create()
    dagster_home(tmp_path, cluster, dagster)
    subprocess.run(
        [
            *(Path(sys.executable).parent / "dagster", "job", "launch"),
            *("--module-name", "rag_assets.definitions", "--job", "document_processing"),
            *("--tags", json.dumps({LANE_TAG: LARGE})),
            *("--config-json", json.dumps({"ops": {"document_lane": {"config": {"lane": LARGE}}}})),
        ],
        env={
            **os.environ,
            "DAGSTER_HOME": str(tmp_path),
            "DAGSTER_PG_PASSWORD": "hidden",
            "DAGSTER_CURRENT_IMAGE": IMAGE,
            "RAG_DATABASE_URL": f"postgresql:///{database.name}?host={database.parameters()['host']}",
        },
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    ((path, job),) = cluster.made
    assert path == "/apis/batch/v1/namespaces/rag-assets/jobs"
    for version in VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    lanes = chart.instance()["run_launcher"]["config"]["lanes"]
    assert container["resources"] == lanes[LARGE]["container_config"]["resources"]
    assert container["image"] == IMAGE
    assert container["securityContext"] == SECURE
    assert spec["securityContext"]["runAsUser"] == 10001
    wanted = {mount["mountPath"] for mount in run_pod()["containers"][0]["volumeMounts"]}
    assert wanted <= {mount["mountPath"] for mount in container["volumeMounts"]}
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400
    assert "hidden" not in json.dumps(job)
    with dagster.connect() as connection:
        (run,) = runs_under_way(connection)
    assert (run.job, run.lane) == ("document_processing", LARGE)
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "hidden")
    assert fault_of(_told_by_the_monitor(tmp_path)) == "killed by signal 9"
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {dagster.name} WITH (FORCE)")
