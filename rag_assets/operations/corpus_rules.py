"""Rules about stored, indexed and released data. Each names a command for operators. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from rag_assets.documents.corpora import asset_name
from rag_assets.embedding.sql.batches import StoredBatch
from rag_assets.operations.findings import Finding, View, rule, span
from rag_assets.operations.job_failures import RETRY_CHANCE, split_explained
from rag_assets.operations.snapshot import Snapshot
from rag_assets.postgres import pgvector_faults
from rag_assets.retrieval.sql.live_recall import ENOUGH, WINDOW_H
from rag_assets.visible import count


@rule(
    condition="Migrations are not applied.",
    evidence="their names",
    fix="`rag-assets db migrate`",
)
def migrations_pending(view: View) -> Iterator[Finding]:
    seen = view.snapshot
    if seen.pending:
        evidence = f"not applied: {', '.join(seen.pending)}"
        yield Finding("database", "problem", evidence, "`rag-assets db migrate`", seen.now)


@rule(
    condition="The database answers, and cannot be read.",
    evidence="the error",
    fix="`rag-assets db status`",
)
def database_unread(view: View) -> Iterator[Finding]:
    seen = view.snapshot
    if seen.unread is not None:
        yield Finding("database", "problem", seen.unread, "`rag-assets db status`", seen.now)


@rule(
    condition="The server's pgvector has known faults.",
    evidence="the faults, and the version that fixes each",
    fix="install a newer pgvector; there is none for the embedded server",
)
def pgvector_outdated(view: View) -> Iterator[Finding]:
    seen, embedded = view.snapshot, view.thresholds.embedded
    verdict = pgvector_faults.judge_pgvector(seen.versions) if seen.versions else None
    if verdict is not None and verdict.problem:
        # The embedded server cannot take a newer pgvector, and an outdated extension only lacks
        # what newer ones add.
        yield Finding(
            "vectors",
            "warning" if verdict.faults and not embedded else "information",
            verdict.problem,
            verdict.remedy(embedded=embedded),
            seen.now,
        )


@rule(
    condition="An incident of the queue is not closed.",
    evidence="its name, state, cause and subject",
    fix="wait while the recovery is at work; escalated: [the runbook](runbook-queue.md)",
)
def incident_open(view: View) -> Iterator[Finding]:
    corpus = view.snapshot.corpus
    incident = corpus.incident if corpus else None
    if incident is not None:
        escalated = incident.state == "escalated"
        yield Finding(
            "incident",
            "problem" if escalated else "warning",
            f"{incident.name} is {incident.state}: {incident.cause} {incident.subject}".rstrip(),
            "needs an operator: docs/operations/runbook-queue.md"
            if escalated
            else "wait: the recovery is working on it, and notifies an operator if that fails",
            incident.began_at,
        )


@rule(
    condition="The last run of a job, or of one of its partitions, failed. After an outage this "
    "is a warning until automatic runs have had the time to retry.",
    evidence="the jobs and partitions, the error's class and message",
    fix="depends on the error's class; then re-execute the named run",
)
def job_failed(view: View) -> Iterator[Finding]:
    corpus = view.snapshot.corpus
    if corpus is None:
        return
    failures = split_explained(corpus.failing)
    for incident, failed in failures.explained:
        yield Finding(
            "job",
            "warning",
            f"{failed.which} in {incident.name}: {failed.why}",
            "wait: automatic runs retry; what is still not done "
            f"{span(RETRY_CHANCE.total_seconds())} after the outage is reported",
            failed.began_at,
        )
    for failed in failures.reported.values():
        yield Finding(
            "job",
            "problem",
            f"{failed.which}, last {failed.runs[-1].ended_at:%Y-%m-%d %H:%M %Z}: {failed.why}",
            failed.remedy(view.thresholds.public_url),
            failed.began_at,
        )


@rule(
    condition="A batch is overdue at the provider, or the provider does not answer for it; or it "
    "could not be begun for an hour, though none is under way.",
    evidence="the batch, its version, and since when it is due, or the error",
    fix="`rag-assets batches cancel BATCH`: what is answered is kept, the rest requested again",
)
def batch_late(view: View) -> Iterator[Finding]:
    seen = view.snapshot
    for batch in seen.corpus.batches if seen.corpus else ():
        named = f"batch {batch.batch_id} of {batch.version_code}"
        cancel = f"`rag-assets batches cancel {batch.batch_id}`"
        if batch.state == "prepared":
            yield from _unbegun(batch, seen)
        elif batch.state != "submitted":
            continue
        elif batch.message:
            began = batch.submitted_at or batch.prepared_at
            give_up = f"correct that, or `rag-assets batches give-up {batch.batch_id}`"
            yield Finding("batch", "warning", f"{named}: {batch.message}", give_up, began)
        elif batch.due_at is not None and batch.due_at < seen.now:
            late = span((seen.now - batch.due_at).total_seconds())
            fact = f"{named} is {late} overdue at the provider ({batch.provider})"
            yield Finding("batch", "warning", fact, cancel, batch.due_at)


def _unbegun(batch: StoredBatch, seen: Snapshot) -> Iterator[Finding]:
    """A batch that waits, though no other one is at the provider to wait for."""
    busy = any(one.state == "submitted" for one in seen.corpus.batches) if seen.corpus else False
    if busy or seen.now - batch.prepared_at < UNTAKEN:
        return
    since = span((seen.now - batch.prepared_at).total_seconds())
    why = f" ({batch.message})" if batch.message else ""
    yield Finding(
        "batch",
        "warning",
        f"batch {batch.batch_id} of {batch.version_code} could not be begun for {since}{why}",
        "`rag-assets up` begins it; if the provider's queue stays full, set "
        "RAG_BATCH_ENQUEUED_TOKENS and RAG_EMBEDDING_BATCH_SIZE to what the account allows, and "
        f"`rag-assets batches cancel {batch.batch_id}`",
        batch.prepared_at,
    )


@rule(
    condition="A batch ended more than an hour ago, and no run has taken its results in.",
    evidence="the batch, its version, and how long ago it ended",
    fix="`rag-assets up` runs the sensor `embedding_batches`; or `rag-assets bible embed VERSION`",
)
def batch_untaken(view: View) -> Iterator[Finding]:
    seen = view.snapshot
    for batch in seen.corpus.batches if seen.corpus else ():
        if batch.state == "ended" and batch.ended_at and seen.now - batch.ended_at > UNTAKEN:
            since = span((seen.now - batch.ended_at).total_seconds())
            yield Finding(
                "batch",
                "problem",
                f"batch {batch.batch_id} of {batch.version_code} ended {since} ago: its results "
                "are paid for, and not taken in",
                f"`rag-assets up`, or `rag-assets bible embed {batch.version_code}`; if it "
                f"was removed: `rag-assets batches give-up {batch.batch_id}`",
                batch.ended_at,
            )


@rule(
    condition="The provider refused a batch as a whole within the last day. Its texts are "
    "requested again, after a second refusal live.",
    evidence="the batch, its version, and the provider's code",
    fix="`rag-assets batches list`",
)
def batch_failed(view: View) -> Iterator[Finding]:
    seen = view.snapshot
    for batch in seen.corpus.batches if seen.corpus else ():
        if batch.state == "failed":
            fact = f"batch {batch.batch_id} of {batch.version_code} was refused: {batch.message}"
            began = batch.ended_at or seen.now
            yield Finding("batch", "warning", fact, "`rag-assets batches list`", began)


@rule(
    condition="There are dead letters: documents that are not retried.",
    evidence="how many, by error class",
    fix="`rag-assets documents dlq`",
)
def dead_letters(view: View) -> Iterator[Finding]:
    corpus = view.snapshot.corpus
    if corpus is not None and corpus.dead:
        evidence = ", ".join(f"{number} {name}" for name, number in corpus.dead.items())
        command = "`rag-assets documents dlq`"
        yield Finding("dead letters", "warning", evidence, command, view.snapshot.now)


@rule(
    condition="More than `RAG_INDEX_REBUILD_SHARE` of an index's rows changed since it was built.",
    evidence="the table and the share",
    fix="wait for the nightly run, or `rag-assets index build`",
)
def index_stale(view: View) -> Iterator[Finding]:
    corpus = view.snapshot.corpus
    for index in corpus.indexes if corpus else ():
        if index.generation is not None and index.changed > view.thresholds.rebuild_share:
            yield Finding(
                "index",
                "warning",
                f"{index.table}: {index.changed:.0%} of its rows changed since the build",
                "wait for the nightly run, or `rag-assets index build`",
                view.snapshot.now,
            )


@rule(
    condition=f"Of at least {ENOUGH} searches of the last {WINDOW_H} hours that the API repeated "
    "exactly, recall@10 is under `RAG_LIVE_RECALL_FLOOR`.",
    evidence="the recall, the plan, and the number of searches",
    fix="`rag-assets index build`, with `RAG_LIVE_QUERIES=true` so that it is judged by such "
    "queries",
)
def live_recall_low(view: View) -> Iterator[Finding]:
    corpus, floor = view.snapshot.corpus, view.thresholds.live_recall_floor
    for one in corpus.live_recall if corpus else ():
        if one.recall is not None and one.recall < floor and one.compared >= ENOUGH:
            yield Finding(
                "release",
                "warning",
                f"{one.corpus}: users' searches with the plan {one.plan} find {one.recall:.1%} of "
                f"what exact search finds, under {floor:.0%} ({one.compared:,} searches of the "
                f"last {WINDOW_H} hours)",
                "`rag-assets index build`, with RAG_LIVE_QUERIES=true so that it is judged by such "
                "queries",
                view.snapshot.now,
            )


@rule(
    condition="Something is embedded, and nothing is served, or the gate refuses the next release.",
    evidence="the gate's reasons, by what fixes them, and what automation already does",
    fix="the command of the first fix that no automation makes, or `rag-assets release gate`",
)
def release_held(view: View) -> Iterator[Finding]:
    corpus = view.snapshot.corpus
    if corpus is None or not corpus.indexes:  # nothing is embedded yet
        return
    release = corpus.release
    facts = [] if release.release_id is not None else ["nothing is served yet"]
    for fix in release.fixes:
        more = f" (and {len(fix.reasons) - 1} more)" if len(fix.reasons) > 1 else ""
        facts.append(f"the gate refuses the next release: {fix.reasons[0]}{more}: {fix.title}")
    if facts:
        commands = [fix.command for fix in release.fixes if not fix.automation]
        command = commands[0] if commands else "`rag-assets release gate`"
        yield Finding("release", "warning", "; ".join(facts), command, view.snapshot.now)


@rule(
    condition="Vectors are stored that no embedding run wrote.",
    evidence="how many, by version or for documents",
    fix="`rag-assets bible embed VERSION`, or `document_embeddings` of what the gate names",
)
def provenance_unknown(view: View) -> Iterator[Finding]:
    corpus = view.snapshot.corpus
    for subject, number in (corpus.release.unverified if corpus else {}).items():
        yield Finding(
            "provenance",
            "problem",
            f"{subject}: {count(number, 'vector')} not written by an embedding run",
            f"materialize {asset_name(subject, 'embeddings')} of the documents that "
            "`rag-assets release gate` names"
            if subject.islower()  # a document corpus: versions' codes are capitals
            else f"`rag-assets bible embed {subject}`",
            view.snapshot.now,
        )


@rule(
    condition="The last audit found differences that it left.",
    evidence="how many of each kind, and where, with the first examples",
    fix="`rag-assets audit --repair`, or what [the audit](audit.md#the-kinds) says",
)
def audit_differences(view: View) -> Iterator[Finding]:
    corpus = view.snapshot.corpus
    audit = corpus.audit if corpus else None
    for one in audit.differences if audit else ():
        examples = f" ({'; '.join(one['examples'])})" if one["examples"] else ""
        yield Finding(
            "audit",
            "problem",
            f"{one['kind']}: {one['count']:,} of {one['scope']}{examples}",
            one["reason"] or "`rag-assets audit --repair`",
            audit.ended_at if audit else view.snapshot.now,
        )


@rule(
    condition="Slack did not accept messages.",
    evidence="how many",
    fix="correct `SLACK_WEBHOOK_URL`; delivery is retried",
)
def messages_unsent(view: View) -> Iterator[Finding]:
    corpus = view.snapshot.corpus
    if corpus is not None and corpus.unsent_messages:
        fact = f"Slack did not accept {count(corpus.unsent_messages, 'message')}: retrying"
        yield Finding("messages", "warning", fact, "correct SLACK_WEBHOOK_URL", view.snapshot.now)


@rule(
    condition="A setting has a value under a name that the next version does not read.",
    evidence="its name",
    fix="set what the finding names instead",
)
def setting_deprecated(view: View) -> Iterator[Finding]:
    for name, instead in view.thresholds.deprecated:
        fact = f"{name} is deprecated: the next version does not read it"
        yield Finding("settings", "warning", fact, f"set {instead}", view.snapshot.now)


@rule(
    condition="Dagster's daemon runs, and no `rag-assets watch` is connected.",
    evidence="that documents wait for the sensors' ticks",
    fix="`rag-assets up` starts it; `.rag/up.log`, or the log of the service, says why it ended",
)
def watch_away(view: View) -> Iterator[Finding]:
    seen = view.snapshot
    daemon = any(probe.name == "daemon" and probe.ok for probe in seen.probes)
    if daemon and seen.daemon_was_seen and seen.corpus and not seen.corpus.watches:
        fact = "`rag-assets watch` is not connected: documents are found up to 20 s later"
        yield Finding("watch", "information", fact, "`rag-assets up` starts it", seen.now)


UNTAKEN = timedelta(hours=1)

CORPUS_RULES = (
    migrations_pending,
    database_unread,
    pgvector_outdated,
    incident_open,
    job_failed,
    batch_late,
    batch_untaken,
    batch_failed,
    dead_letters,
    index_stale,
    live_recall_low,
    release_held,
    provenance_unknown,
    audit_differences,
    messages_unsent,
    setting_deprecated,
    watch_away,
)
