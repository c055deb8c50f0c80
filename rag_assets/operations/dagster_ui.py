"""Dagster's GraphQL, which its webserver serves: sensors are evaluated before their next tick.

What a sensor decides is the same as in a tick of the daemon, in which it is evaluated as well.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from rag_assets.errors import DagsterUnreachableError

_REPOSITORY = {"repositoryLocationName": "rag_assets", "repositoryName": "__repository__"}
_TIMEOUT_S = 60.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is beside us
_STATE = """
query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
  __typename ... on Sensor { sensorState { status } } } }
"""
_EVALUATE = """
mutation ($sensor: SensorSelector!) { sensorDryRun(selectorData: $sensor, cursor: null) {
  __typename ... on PythonError { message } ... on DryRunInstigationTick { evaluationResult {
    error { message } dynamicPartitionsRequests { partitionKeys partitionsDefName type }
    runRequests { runKey jobName runConfigYaml tags { key value } } } } } }
"""
_ADD = """
mutation ($name: String!, $key: String!, $repository: RepositorySelector!) { addDynamicPartition(
  partitionsDefName: $name, partitionKey: $key, repositorySelector: $repository) { __typename } }
"""
_KNOWN = """
query ($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}, limit: 1) {
  __typename ... on Runs { results { runId } } } }
"""
_LAUNCH = """
mutation ($run: ExecutionParams!) { launchRun(executionParams: $run) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""


class DagsterUi:
    """A webserver of Dagster.

    :param url: its address.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/graphql"

    def evaluate(self, sensor: str) -> tuple[str, ...]:
        """Evaluate a sensor now and start the runs that it requests; return their ids.

        A sensor that an operator has stopped is not evaluated.

        :raises DagsterUnreachableError: it does not answer, or refuses.
        """
        named = {"sensor": {**_REPOSITORY, "sensorName": sensor}}
        found = self._ask(_STATE, **named)
        if found.get("sensorState", {}).get("status") != "RUNNING":
            return ()
        answer = self._ask(_EVALUATE, **named)
        result = answer.get("evaluationResult")
        if result is None or result["error"]:
            why = (result["error"] if result else answer).get("message", "no reason given")
            raise DagsterUnreachableError(f"the sensor {sensor} failed: {why}")
        for request in result["dynamicPartitionsRequests"] or ():
            for key in request["partitionKeys"] or ():
                name = request["partitionsDefName"]
                self._ask(_ADD, name=name, key=key, repository=_REPOSITORY)
        started = (self._launch(sensor, request) for request in result["runRequests"] or ())
        return tuple(run for run in started if run is not None)

    def _launch(self, sensor: str, request: Mapping[str, Any]) -> str | None:
        """Start a run with the tags that the daemon sets, unless one with its key was started."""
        tags = [{"key": "dagster/sensor_name", "value": sensor}]
        if request["runKey"]:
            tags.append({"key": "dagster/run_key", "value": request["runKey"]})
            if self._ask(_KNOWN, tags=tags).get("results"):
                return None
        run = {
            "selector": {**_REPOSITORY, "jobName": request["jobName"]},
            "runConfigData": request["runConfigYaml"],
            "executionMetadata": {"tags": [*request["tags"], *tags]},
        }
        launched = self._ask(_LAUNCH, run=run)
        if "run" not in launched:
            raise DagsterUnreachableError(f"a run of {request['jobName']} was refused: {launched}")
        return str(launched["run"]["runId"])

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the only field of an answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 -- an operator's own address
            self._url, body, {"Content-Type": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
                found = json.load(answer)
        except (OSError, ValueError) as error:
            raise DagsterUnreachableError(f"{self._url} does not answer: {error}") from error
        if found.get("errors"):
            raise DagsterUnreachableError(f"{self._url}: {found['errors'][0]['message']}")
        (field,) = found["data"].values()
        return dict(field)
