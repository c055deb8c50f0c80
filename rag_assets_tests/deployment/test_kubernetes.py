"""The manifests and the chart's values, as far as they can be judged without a cluster.

Against Kubernetes' own schemas and the chart's. What Dagster makes of the values is told by
``test_kubernetes_runs.py``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from rag_assets.lanes import BIBLE_LANE, LARGE, PROCESSING
from rag_assets.settings.model import Settings
from rag_assets_tests.deployment import chart, compose

ROOT = compose.ROOT
LANES = {PROCESSING, LARGE, BIBLE_LANE}
MADE_BY_THE_CHART = {"dagster-instance", "dagster-pipeline-env"}
MADE_BY_HAND = {"rag-database-ca"}


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
    return made | {"run": chart.run_pod()}


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """All containers, with the name of their pod."""
    for name, spec in templates().items():
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            yield name, container


@pytest.mark.parametrize("version", chart.VERSIONS)
def test_kubernetes_takes_every_manifest_and_every_pod_of_the_chart(version: str) -> None:
    for manifest in [*manifests(), *chart.pods().values()]:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_is_refused() -> None:
    manifest = deepcopy(kind("Deployment")["rag-api"])
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(manifest, chart.VERSIONS[0], strict=True)


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
    assert images == {chart.IMAGE}
    assert {image for image in named if "busybox" not in image} == {chart.IMAGE}


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
        assert container["securityContext"] == chart.SECURE, name
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
    # Runs have pods of their own, which nothing forks: the chart starts Dagster's own code server.
    assert ours["code"][:3] == ["python", "-m", "rag_assets.defs.code_server"]
    ours["code"][:3] = ["dagster", "api", "grpc"]
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
    known = {name.upper() for name in Settings.model_fields} | {
        "RAG_SECRETS_DIR",
        "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS",
    }
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


def test_the_operator_s_alertmanager_reads_what_the_guide_has_made() -> None:
    file = chart.FOLDER / "prometheus-operator" / "alertmanager.yaml"
    made, policy, monitor = yaml.safe_load_all(file.read_text("utf-8"))
    secret = made["spec"]["configSecret"]
    assert documented_secrets()[secret] == {"alertmanager"}  # .yaml=/dev/stdin
    assert f"generic {secret} --from-file=alertmanager.yaml=/dev/stdin" in file.read_text("utf-8")
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert chosen["alertmanager"] == made["metadata"]["name"]  # the operator's label
    for version in chart.VERSIONS:
        kubernetes_validate.validate(policy, version, strict=True)
    assert {one["metadata"]["namespace"] for one in (made, policy, monitor)} == {"rag-assets"}


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
