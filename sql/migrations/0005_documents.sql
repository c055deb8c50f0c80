-- Documents: what was dropped, how far each one is, its chunks and their vectors.

-- One document of the inbox. `state` tells of the work on it; what can be searched are its chunks,
-- and a document that waits to be processed again keeps those that it has until then.
CREATE TABLE documents (
    document_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_key text NOT NULL UNIQUE,
    path         text NOT NULL,
    bytes        bigint NOT NULL,
    modified     text NOT NULL,
    content_hash bytea NOT NULL,
    state        text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'ready', 'dead', 'withdrawn')),
    lane         text NOT NULL,
    priority     smallint NOT NULL CHECK (priority BETWEEN 0 AND 3),
    dropped_at   timestamptz NOT NULL DEFAULT now(),
    queued_at    timestamptz NOT NULL DEFAULT now(),
    not_before   timestamptz NOT NULL DEFAULT '-infinity',
    attempts     integer NOT NULL DEFAULT 0,
    run_id       text,
    lease_until  timestamptz,
    started_at   timestamptz,
    ended_at     timestamptz,
    error_class  text,
    error        text,
    withdrawn_at timestamptz,
    withdrawn_by text CHECK (withdrawn_by IN ('inbox', 'command')),
    -- what was made of it when it was last ready
    stored_hash  bytea,
    chunking     text,
    title        text,
    media_type   text,
    language     text,
    pages        integer,
    chunks       integer,
    tokens       bigint,
    cost_usd     numeric(14, 8),
    seconds      jsonb,
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((state = 'withdrawn') = (withdrawn_at IS NOT NULL)),
    CHECK ((state = 'withdrawn') = (withdrawn_by IS NOT NULL)),
    CHECK (state <> 'dead' OR error_class IS NOT NULL)
);
-- A path belongs to one document; one that was withdrawn no longer holds its own.
CREATE UNIQUE INDEX documents_path ON documents (path) WHERE state <> 'withdrawn';
CREATE INDEX documents_content ON documents (content_hash);
CREATE INDEX documents_waiting ON documents (lane, priority, queued_at, document_id)
    WHERE state = 'waiting';
CREATE INDEX documents_running ON documents (lease_until) WHERE state = 'running';
CREATE INDEX documents_withdrawn ON documents (withdrawn_at) WHERE state = 'withdrawn';
CREATE INDEX documents_dead ON documents (error_class, ended_at) WHERE state = 'dead';
COMMENT ON COLUMN documents.document_key IS 'Partition key in Dagster: readable, kept through renames and changes.';
COMMENT ON COLUMN documents.path IS 'Below the inbox, with slashes.';
COMMENT ON COLUMN documents.modified IS 'What the storage tells of its last change: time or ETag.';
COMMENT ON COLUMN documents.content_hash IS 'SHA-256 of the file as last seen.';
COMMENT ON COLUMN documents.stored_hash IS 'SHA-256 of the file that the chunks are of.';
COMMENT ON COLUMN documents.chunking IS 'How the chunks were cut: other settings cut others.';
COMMENT ON COLUMN documents.attempts IS 'Claims since the content was new, by runs that then died or failed, too.';
COMMENT ON COLUMN documents.priority IS '0 asked for, 1 high, 2 normal, 3 low.';
COMMENT ON COLUMN documents.error IS 'Of the last attempt: a sentence that says what to do.';
COMMENT ON COLUMN documents.withdrawn_by IS
    'inbox: its file is gone. command: a person asked for it, the file may still be there.';
COMMENT ON COLUMN documents.seconds IS 'Time by stage.';

-- The dead letters: documents on which work has ended without success.
CREATE VIEW rag_dlq AS
SELECT document_key, path, bytes, lane, error_class, error, attempts, run_id, ended_at
  FROM documents WHERE state = 'dead';

CREATE TABLE document_chunks (
    chunk_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id bigint NOT NULL REFERENCES documents ON DELETE CASCADE,
    position    integer NOT NULL CHECK (position > 0),
    page        integer,
    heading     text[] NOT NULL,
    text        text NOT NULL,
    text_hash   bytea NOT NULL,
    tokens      integer NOT NULL,
    language    text NOT NULL,
    text_search tsvector NOT NULL GENERATED ALWAYS AS
        (to_tsvector(text_search_configuration(upper(split_part(language, '-', 1))), text)) STORED,
    -- Checked at the end: a new state of a document is written beside the one before it.
    UNIQUE (document_id, position) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX document_chunks_text_search ON document_chunks USING gin (text_search);
CREATE INDEX document_chunks_text_hash ON document_chunks (text_hash);
COMMENT ON COLUMN document_chunks.page IS 'On which it begins, from 1; null where there are none.';
COMMENT ON COLUMN document_chunks.heading IS 'Headings above it, from the outermost.';

-- chunk_embeddings_s<n>: published vectors, one row a chunk. The scope is the collection.
CREATE FUNCTION create_chunk_embeddings(n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    space embedding_spaces;
    bytes integer;
BEGIN
    SELECT * INTO STRICT space FROM embedding_spaces WHERE space_id = n;
    -- In the row up to 8,000 bytes, as the verses' vectors.
    bytes := 8 + space.dimensions * CASE space.precision WHEN 'vector' THEN 4 ELSE 2 END;
    EXECUTE format($ddl$
        CREATE TABLE %1$I (
            chunk_id    bigint PRIMARY KEY,
            collection  text NOT NULL,
            document_id bigint NOT NULL,
            language    text NOT NULL,
            embedding   %2$s(%3$s) NOT NULL,
            text_hash   bytea NOT NULL,
            run_id      text NOT NULL,
            created_at  timestamptz NOT NULL DEFAULT now()
        );
        ALTER TABLE %1$I ALTER COLUMN embedding SET STORAGE %4$s;
        CREATE INDEX ON %1$I (collection);
        CREATE INDEX ON %1$I (document_id);
        CREATE INDEX ON %1$I (text_hash);
    $ddl$, 'chunk_embeddings_s' || n, space.precision, space.dimensions,
           CASE WHEN bytes <= 8000 THEN 'PLAIN' ELSE 'EXTERNAL' END);
END
$$;

CREATE FUNCTION create_chunk_embeddings_of_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM create_chunk_embeddings(NEW.space_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER create_chunk_embeddings_of_space AFTER INSERT ON embedding_spaces
    FOR EACH ROW EXECUTE FUNCTION create_chunk_embeddings_of_space();
SELECT create_chunk_embeddings(space_id) FROM embedding_spaces;

-- A chunk that goes takes its vectors along. Nothing is set aside here: chunks come and go with
-- every change of a document, and what nobody needs would be kept for ever. Withdrawing a document
-- sets its vectors aside before its chunks go.
CREATE FUNCTION delete_vectors_of_gone_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    FOR n IN SELECT space_id FROM embedding_spaces ORDER BY space_id LOOP
        EXECUTE format($sql$
            WITH removed AS (
                DELETE FROM %I e USING gone WHERE e.chunk_id = gone.chunk_id
                RETURNING e.collection
            )
            SELECT record_vector_change('documents', %s, collection, count(*)) FROM removed
             GROUP BY collection
        $sql$, 'chunk_embeddings_s' || n, n);
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_vectors_of_gone_chunks AFTER DELETE ON document_chunks
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION delete_vectors_of_gone_chunks();

-- Points the view `chunk_embeddings` at the spaces that play the two roles. Documents may have
-- vectors in the small space only: the large one's columns are null then.
CREATE FUNCTION refresh_chunk_embeddings_view() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    small embedding_spaces;
    large embedding_spaces;
BEGIN
    SELECT s.* INTO small FROM embedding_spaces s JOIN embedding_roles USING (space_id) WHERE role = 'small';
    SELECT s.* INTO large FROM embedding_spaces s JOIN embedding_roles USING (space_id) WHERE role = 'large';
    IF small IS NULL THEN
        RETURN;
    END IF;
    DROP VIEW IF EXISTS chunk_embeddings;
    EXECUTE format($ddl$
        CREATE VIEW chunk_embeddings AS
        SELECT c.chunk_id, d.document_key, c.position, c.page, c.heading,
               CASE WHEN s.chunk_id IS NOT NULL THEN %2$L END AS model_name_small,
               CASE WHEN s.chunk_id IS NOT NULL THEN %3$s END AS dim_small,
               s.embedding AS embedding_small,
               CASE WHEN l.chunk_id IS NOT NULL THEN %5$L END AS model_name_large,
               CASE WHEN l.chunk_id IS NOT NULL THEN %6$s END AS dim_large,
               l.embedding AS embedding_large
          FROM document_chunks c
          JOIN documents d USING (document_id)
          LEFT JOIN %1$I s ON s.chunk_id = c.chunk_id
          LEFT JOIN %4$I l ON l.chunk_id = c.chunk_id AND %7$L
         WHERE s.chunk_id IS NOT NULL OR l.chunk_id IS NOT NULL
    $ddl$, 'chunk_embeddings_s' || small.space_id, small.model, small.dimensions,
           'chunk_embeddings_s' || coalesce(large.space_id, small.space_id),
           coalesce(large.model, ''), coalesce(large.dimensions, 0), large.space_id IS NOT NULL);
END
$$;

-- What is called when a role changes hands: as before for the verses, and the chunks' view.
ALTER FUNCTION refresh_embedding_views() RENAME TO refresh_verse_embeddings_view;
CREATE FUNCTION refresh_embedding_views() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refresh_verse_embeddings_view();
    PERFORM refresh_chunk_embeddings_view();
END
$$;
SELECT refresh_chunk_embeddings_view();
