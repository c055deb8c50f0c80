-- What became of a document's text when it was read: how much there is, and what is not in it.
ALTER TABLE documents ADD COLUMN characters bigint, ADD COLUMN remarks jsonb;
COMMENT ON COLUMN documents.characters IS 'Of the text that was cut into chunks.';
COMMENT ON COLUMN documents.remarks IS
    'What was left out, repaired or lost: a list of kind, what, count, examples.';
