-- Batches at the provider: verses' texts that are answered within a day, at half the price.
--
-- A text in embedding_batch_texts is paid for, or about to be: no run requests it meanwhile.
CREATE TABLE embedding_batches (
    batch_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token          uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    space_id       integer NOT NULL REFERENCES embedding_spaces,
    version_code   text NOT NULL,
    run_id         text NOT NULL,
    attempt        smallint NOT NULL DEFAULT 1,
    state          text NOT NULL DEFAULT 'prepared'
                   CHECK (state IN ('prepared', 'submitted', 'ended', 'done', 'failed', 'given up')),
    provider       text NOT NULL DEFAULT '',
    provider_id    text,
    key_name       text,
    output_file_id text,
    texts          integer NOT NULL,
    tokens         bigint NOT NULL,
    completed      integer NOT NULL DEFAULT 0,
    message        text NOT NULL DEFAULT '',
    prepared_at    timestamptz NOT NULL DEFAULT now(),
    submitting_at  timestamptz,
    submitted_at   timestamptz,
    due_at         timestamptz,
    ended_at       timestamptz,
    closed_at      timestamptz
);
COMMENT ON COLUMN embedding_batches.token IS 'In the metadata of the batch, by which it is found again.';
COMMENT ON COLUMN embedding_batches.state IS
    'prepared: its texts are reserved; submitted: the provider works on it; ended: its results can be '
    'fetched; done: they were; failed: it was refused whole; given up: its texts are free again.';
COMMENT ON COLUMN embedding_batches.provider IS 'The provider''s word for its state.';
CREATE INDEX embedding_batches_open ON embedding_batches (version_code)
    WHERE state IN ('prepared', 'submitted', 'ended');

CREATE TABLE embedding_batch_texts (
    space_id  integer NOT NULL,
    text_hash bytea NOT NULL,
    batch_id  bigint NOT NULL REFERENCES embedding_batches ON DELETE CASCADE,
    line      integer NOT NULL,
    place     integer NOT NULL,
    bytes     integer NOT NULL,
    PRIMARY KEY (space_id, text_hash)
);
CREATE UNIQUE INDEX embedding_batch_texts_line ON embedding_batch_texts (batch_id, line, place);

-- Versions that wait for batches, their own or another version's, and the choices of their run.
CREATE TABLE embedding_waits (
    space_id     integer NOT NULL REFERENCES embedding_spaces,
    version_code text NOT NULL REFERENCES bible_versions ON DELETE CASCADE,
    run_id       text NOT NULL,
    options      jsonb NOT NULL,
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, version_code)
);
COMMENT ON COLUMN embedding_waits.run_id IS 'The first run, under which the ledger lists what the others pay.';
