-- Whoever waits for documents is woken when one waits: an upload, a scan, a retry by command. The
-- sensors find them without it.
CREATE FUNCTION wake_document_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY rag_documents_waiting;
    RETURN NULL;
END
$$;
CREATE TRIGGER wake AFTER INSERT OR UPDATE OF state ON documents
    FOR EACH ROW WHEN (NEW.state = 'waiting') EXECUTE FUNCTION wake_document_queue();
