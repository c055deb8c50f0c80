-- What a chunk is embedded with in front: its document's title and the headings above it. The
-- program of before writes none, and hashes the text alone.
ALTER TABLE document_chunks ADD COLUMN context text NOT NULL DEFAULT '';
COMMENT ON COLUMN document_chunks.context IS
    'What stands before the text where it is embedded; part of text_hash.';

CREATE FUNCTION hash_chunk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.text_hash := sha256(convert_to(NEW.context || NEW.text, 'UTF8'));
    RETURN NEW;
END
$$;
DROP TRIGGER hash_text ON document_chunks;
CREATE TRIGGER hash_text BEFORE INSERT OR UPDATE OF text, text_hash, context ON document_chunks
    FOR EACH ROW
    WHEN (NEW.text_hash IS DISTINCT FROM sha256(convert_to(NEW.context || NEW.text, 'UTF8')))
    EXECUTE FUNCTION hash_chunk();
