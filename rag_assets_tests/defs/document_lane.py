"""The document lane in this process: an inbox, ticks of the sensors, and the requested runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from rag_assets.definitions import build_defs
from rag_assets.defs.documents.partitions import DOCUMENTS, documents
from rag_assets.defs.documents.sensors import document_inbox, document_queue
from rag_assets.defs.resources import CorpusResource
from rag_assets_tests.defs.conftest import Run

ASSETS = ("document_chunks", "document_embeddings")


@dataclass
class DocumentLane:
    """The deployed definitions on one corpus with its own inbox."""

    corpus: CorpusResource
    instance: dg.DagsterInstance
    cursor: str | None = None

    @property
    def inbox(self) -> Path:
        return Path(self.corpus.settings.rag_documents_url)

    def drop(self, name: str, content: str | bytes) -> None:
        """Put a file into the inbox."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def scan(self) -> SensorExecutionData:
        """Evaluate and apply a tick of the inbox sensor."""
        context = dg.build_sensor_context(
            instance=self.instance, resources={"corpus": self.corpus}, cursor=self.cursor
        )
        answer = document_inbox.evaluate_tick(context)
        self.cursor = answer.cursor
        for request in answer.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(DOCUMENTS, list(request.partition_keys))
        return answer

    def requests(self) -> list[dg.RunRequest]:
        """The run requests of a tick of the queue sensor."""
        context = dg.build_sensor_context(instance=self.instance, resources={"corpus": self.corpus})
        return list(document_queue.evaluate_tick(context).run_requests or ())

    def obey(self, request: dg.RunRequest) -> Run:
        """Execute a run request."""
        return Run(
            self._job().execute_in_process(
                instance=self.instance,
                run_config=dict(request.run_config or {}),
                tags=dict(request.tags or {}),
                raise_on_error=False,
            )
        )

    def work(self) -> list[Run]:
        """Scan the inbox, and execute all requested runs."""
        self.scan()
        return [self.obey(request) for request in self.requests()]

    def run(self, *, force: bool = False, **chosen: Any) -> Run:
        """A run of selected partitions, as the UI starts it."""
        return Run(
            self._job().execute_in_process(
                instance=self.instance,
                run_config={"ops": {"document_lane": {"config": {"force": force}}}},
                raise_on_error=False,
                **chosen,
            )
        )

    def partitions(self) -> list[str]:
        """The partitions that Dagster knows."""
        return list(self.instance.get_dynamic_partitions(DOCUMENTS))

    def reads(self, asset: str) -> tuple[set[str], set[str]]:
        """Partitions shown as materialized, and as failed."""
        value = get_and_update_asset_status_cache_value(
            self.instance, dg.AssetKey(asset), documents
        )
        assert value is not None
        materialized = value.deserialize_materialized_partition_subsets(documents)
        failed = value.deserialize_failed_partition_subsets(documents)
        return set(materialized.get_partition_keys()), set(failed.get_partition_keys())

    def shown(self, asset: str) -> dict[str, dict[str, Any]]:
        """The metadata of each partition's last materialization."""
        found = self.instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records
        events = [record.asset_materialization for record in reversed(found)]
        return {
            str(event.partition): {name: value.value for name, value in event.metadata.items()}
            for event in events
            if event is not None
        }

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the corpus database."""
        with self.corpus.database.connect() as connection:
            return connection.execute(query, values).fetchall()

    def _job(self) -> dg.JobDefinition:
        return build_defs(resources={"corpus": self.corpus}).resolve_job_def("document_processing")


def events_of(instance: dg.DagsterInstance) -> Counter[str]:
    """Materializations of both assets, by document."""
    return Counter(
        str(record.partition_key)
        for asset in ASSETS
        for record in instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records
    )
