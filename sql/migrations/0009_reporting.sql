-- What was reported, and what has yet to be: documents to Dagster, failed jobs to people.

-- Dagster's event log is another database: a worker that is killed between the transaction that
-- publishes a document and the event that reports it leaves the document out of Dagster's partitions.
-- A ready document whose last run is not the one that was reported is still to be reported. Documents
-- from before this migration count as not reported until Dagster's own record has been compared.
ALTER TABLE documents ADD COLUMN reported_run text;
COMMENT ON COLUMN documents.reported_run IS
    'The run whose result Dagster shows for this document; run_id once that run has been reported.';
CREATE INDEX documents_unreported ON documents (document_id)
    WHERE state = 'ready' AND reported_run IS DISTINCT FROM run_id;

-- Why a run failed, and what it was at work on: the last try of each failed job is an incident until a
-- later run has done the same step for the same partition.
ALTER TABLE ended_runs
    ADD COLUMN partition    text NOT NULL DEFAULT '',
    ADD COLUMN done_steps   text[] NOT NULL DEFAULT '{}',
    ADD COLUMN failed_steps text[] NOT NULL DEFAULT '{}',
    ADD COLUMN error_class  text,
    ADD COLUMN error        text,
    ADD COLUMN cause        text;
COMMENT ON COLUMN ended_runs.partition IS 'A key, or the first and last of a range; empty without any.';
COMMENT ON COLUMN ended_runs.cause IS
    'What equal failures have in common; null where the failure is not reported as an incident.';
CREATE INDEX ended_runs_failed ON ended_runs (ended_at) WHERE cause IS NOT NULL;

-- Beside the one incident of the queue, one for each cause of failed jobs.
ALTER TABLE incidents ADD COLUMN job_cause text;
COMMENT ON COLUMN incidents.job_cause IS 'ended_runs.cause; null for an incident of the queue.';
DROP INDEX incidents_one_at_a_time;
CREATE UNIQUE INDEX incidents_one_at_a_time ON incidents ((coalesce(job_cause, '')))
    WHERE state <> 'closed';
