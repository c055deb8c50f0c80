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
