"""Checks of an index, which a release requires. All are blocking, with severity ERROR."""

import json
from collections.abc import Iterator

import dagster as dg

from rag_assets.audit.releasing import without_repairs
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index.assets import chunk_embeddings_index, verse_embeddings_index
from rag_assets.defs.resources import CorpusResource
from rag_assets.index.checks import CHECKS_OF, IndexVerdict, judge_index
from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.vectors.sql.tables import Corpus


def _index_checks(
    corpus_name: Corpus, asset: dg.AssetsDefinition, description: str
) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(name, asset=asset.key, description=text, blocking=True)
        for name, text in CHECKS_OF[corpus_name].items()
    ]

    @dg.multi_asset_check(
        name=f"{asset.key.to_user_string()}_checks",
        specs=specs,
        can_subset=True,
        description=description,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, corpus: dg.ResourceParam[CorpusResource]
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = {key.name for key in context.selected_asset_check_keys}
        with (
            as_failures(),
            corpus.reporting(context.log.info) as progress,
            without_repairs(corpus.database, progress) as repaired,
        ):
            with corpus.database.connect() as connection:
                tables = indexed_tables(connection, corpus.settings, corpus_name)
            if not tables:
                yield from (
                    _result(asset.key, IndexVerdict(name, "nothing", (), {}, "nothing is embedded"))
                    for name in wanted
                )
            for table in tables[:1]:  # the one for the next release
                if repaired:
                    maintain(
                        corpus.database, corpus.settings, table, IndexRequest(),
                        run_id=context.run.run_id, progress=progress,
                    )  # fmt: skip
                for verdict in judge_index(
                    corpus.database,
                    corpus.settings,
                    table,
                    wanted,
                    run_id=context.run.run_id,
                    progress=progress,
                ):
                    yield _result(asset.key, verdict)

    return checks


verse_embeddings_index_checks = _index_checks(
    "bible",
    verse_embeddings_index,
    "Measure the selected index, and store the results for the gate.",
)
chunk_embeddings_index_checks = _index_checks(
    "documents",
    chunk_embeddings_index,
    "Measure the documents' selected index, and store the results for the gate.",
)


def _result(asset: dg.AssetKey, verdict: IndexVerdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=verdict.check,
        asset_key=asset,
        passed=not verdict.failures,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(verdict.failures) or verdict.summary or None,
        metadata={
            "judged": verdict.subject,
            **{name: _value(value) for name, value in verdict.measured.items()},
        },
    )


def _value(value: object) -> dg.MetadataValue:
    match value:
        case bool() | None:
            return dg.MetadataValue.text(str(value))
        case int():
            return dg.MetadataValue.int(value)
        case float():
            return dg.MetadataValue.float(value)
        case str():
            return dg.MetadataValue.text(value)
        case _:
            return dg.MetadataValue.json(json.loads(json.dumps(value)))
