-- Documents that an older version of the extraction has read are found without looking at the rest:
-- their label in `chunking` begins with that version, up to the colon.
CREATE INDEX documents_ready_reader ON documents ((split_part(chunking, ':', 1)))
    WHERE state = 'ready';
COMMENT ON COLUMN documents.chunking IS
    'The extraction''s version, a colon, and the settings of chunking. Another version is re-read.';
