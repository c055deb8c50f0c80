-- Figures of an incident, apart: documents in processing, documents that merely waited, and retries
-- that an operator typed meanwhile.
ALTER TABLE documents ADD COLUMN retried_at timestamptz;
COMMENT ON COLUMN documents.retried_at IS 'When an operator last put it back into the queue.';
ALTER TABLE document_attempts ADD COLUMN retried_at timestamptz;
COMMENT ON COLUMN document_attempts.retried_at IS 'The document''s at that time.';
ALTER TABLE incidents
    ADD COLUMN documents_waited integer NOT NULL DEFAULT 0,
    ADD COLUMN retries          integer NOT NULL DEFAULT 0,
    ADD COLUMN retries_failed   integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN incidents.documents_affected IS
    'In processing while it lasted; of incidents before migration 0027 also those that waited.';
COMMENT ON COLUMN incidents.retries IS 'Documents that operators put back while it lasted.';
COMMENT ON COLUMN incidents.retries_failed IS 'Attempts at those that failed; not in failed_jobs.';

-- As before, with retried_at.
CREATE OR REPLACE FUNCTION record_document_attempt() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO document_attempts (document_id, lane, run_id, outcome, error_class, bytes,
                                   started_at, retried_at)
    VALUES (
        OLD.document_id, OLD.lane, OLD.run_id,
        CASE
            WHEN NEW.state = 'ready' THEN 'succeeded'
            WHEN NEW.error_class = 'WorkerLostError' THEN 'lost'
            WHEN NEW.state = 'dead' THEN 'dead'
            WHEN NEW.state = 'withdrawn' THEN 'superseded'
            WHEN NEW.content_hash IS DISTINCT FROM OLD.content_hash THEN 'superseded'
            WHEN NEW.attempts < OLD.attempts THEN 'returned'
            ELSE 'failed'
        END,
        CASE WHEN NEW.state IN ('waiting', 'dead') THEN NEW.error_class END,
        OLD.bytes, coalesce(OLD.started_at, now()), OLD.retried_at);
    RETURN NULL;
END
$$;
