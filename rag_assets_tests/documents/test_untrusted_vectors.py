"""Vectors that another client deleted or wrote are reported by the gate, and replaced."""

from __future__ import annotations

from rag_assets.postgres.database import one
from rag_assets.release.releasing import evaluate_gate
from rag_assets_tests.documents.corpus import judge_all
from rag_assets_tests.documents.lane import Lane, markdown
from rag_assets_tests.release.corpus import release_corpus
from rag_assets_tests.vectors.other_clients import run

NEGATED = (
    "(embedding::vector * array_fill(-1::real, ARRAY[vector_dims(embedding)])::vector)::halfvec"
)


def reasons(lane: Lane) -> list[str]:
    with lane.database.connect() as connection:
        _, verdict = evaluate_gate(connection, lane.settings)
    return [str(reason) for reason in verdict.reasons]


def chunk_of(lane: Lane, key: str) -> int:
    with lane.database.connect() as connection:
        (chunk,) = one(
            connection.execute(
                "SELECT min(chunk_id) FROM document_chunks JOIN documents USING (document_id)"
                " WHERE document_key = %s",
                (key,),
            )
        )
    return int(chunk)


def test_deleted_and_foreign_vectors_are_named_and_processing_the_documents_replaces_them(
    lane: Lane,
) -> None:
    lane.drop(pumps=markdown("pumps", "valves"), roofs=markdown("roofs", "tiles"))
    lane.process()
    judge_all(lane.database, lane.settings)
    release_corpus(lane.database, lane.settings)
    pumps, roofs = lane.key("pumps"), lane.key("roofs")
    run(
        lane.database,
        "DELETE FROM chunk_embeddings_s1 WHERE chunk_id = {chunk}",
        chunk=chunk_of(lane, pumps),
    )
    run(
        lane.database,
        "UPDATE chunk_embeddings_s1 SET embedding = {negated} WHERE chunk_id = {chunk}",
        negated=NEGATED,
        chunk=chunk_of(lane, roofs),
    )
    uncoded, missing, foreign = sorted(reasons(lane), key=lambda reason: "index" not in reason[:20])
    assert uncoded.startswith("documents' index: index_valid_and_used: 1 vector has no code, so")
    assert missing.startswith("documents: completeness: small: 1 chunk has no vector in openai/")
    assert missing.endswith(f"({pumps})")
    assert foreign.startswith("documents: provenance: small: 1 vector was not written by an")
    assert foreign.endswith(f"({roofs})")

    lane.process(run_id="again", keys=[pumps, roofs])
    assert reasons(lane) == []
    with lane.database.connect() as connection:
        assert one(
            connection.execute(
                "SELECT count(*) FILTER (WHERE e.chunk_id IS NULL OR unverified)"
                "  FROM document_chunks LEFT JOIN chunk_embeddings_s1 e USING (chunk_id)"
            )
        ) == (0,)
