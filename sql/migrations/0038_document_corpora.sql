-- Several document corpora share the queue, the lanes and the tables of vectors. Those of before are
-- one of them, `documents`; its choices are the settings'.
CREATE TABLE document_corpora (
    corpus         text PRIMARY KEY CHECK (corpus ~ '^[a-z][a-z0-9_]{0,39}$'
                                           AND corpus NOT IN ('bible', 'both', 'document')),
    inbox_url      text,
    max_chunk_size integer,
    chunk_overlap  integer,
    chunk_context  boolean,
    golden_file    text,
    registered_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE document_corpora IS
    'As the code location defines them, for the processes that do not load it. Null: as the settings say.';
INSERT INTO document_corpora (corpus) VALUES ('documents');

-- When each corpus was last served in each lane: the others come first.
CREATE TABLE corpus_turns (
    corpus     text NOT NULL REFERENCES document_corpora ON DELETE CASCADE,
    lane       text NOT NULL,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (corpus, lane)
);

ALTER TABLE documents
    ADD COLUMN corpus text NOT NULL DEFAULT 'documents' REFERENCES document_corpora;
-- A path is below its corpus' inbox.
DROP INDEX documents_path;
CREATE UNIQUE INDEX documents_path ON documents (path, corpus) WHERE state <> 'withdrawn';
DROP INDEX documents_waiting;
CREATE INDEX documents_waiting ON documents (lane, corpus, priority, queued_at, document_id)
    WHERE state = 'waiting';
-- Few documents are of another corpus than the one that most installations have.
CREATE INDEX documents_corpus ON documents (corpus, document_id) WHERE corpus <> 'documents';

-- Keys may be confined to any corpus.
ALTER TABLE api_keys DROP CONSTRAINT api_keys_corpora_check;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_corpora_check CHECK (corpora <> '{}');
