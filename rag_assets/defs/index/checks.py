"""What must be true of the index before a release may search it. All blocking, severity ERROR."""

import json
from collections.abc import Iterator

import dagster as dg

from rag_assets.defs.failures import as_failures
from rag_assets.defs.index.assets import verse_embeddings_index
from rag_assets.defs.resources import Corpus
from rag_assets.index.checks import INDEX_CHECKS, IndexVerdict, judge_index
from rag_assets.index.tables import candidate_table
from rag_assets.progress import LogLines


@dg.multi_asset_check(
    name="verse_embeddings_index_checks",
    specs=[
        dg.AssetCheckSpec(
            name, asset=verse_embeddings_index.key, description=description, blocking=True
        )
        for name, description in INDEX_CHECKS.items()
    ],
    can_subset=True,
)
def verse_embeddings_index_checks(
    context: dg.AssetCheckExecutionContext, corpus: dg.ResourceParam[Corpus]
) -> Iterator[dg.AssetCheckResult]:
    """Measure the index that was decided on, and keep the results for the gate."""
    wanted = {key.name for key in context.selected_asset_check_keys}
    with as_failures():
        with corpus.database.connect() as connection:
            table = candidate_table(connection, corpus.settings)
        for verdict in judge_index(
            corpus.database,
            corpus.settings,
            table,
            wanted,
            run_id=context.run.run_id,
            progress=corpus.progress or LogLines(context.log.info),
        ):
            yield _result(verdict)


def _result(verdict: IndexVerdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=verdict.check,
        asset_key=verse_embeddings_index.key,
        passed=not verdict.failures,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(verdict.failures) or None,
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
