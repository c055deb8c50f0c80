-- Embedding spaces and everything that is bought for them.
--
-- A space is (provider, model, dimensions, precision). Vectors of different spaces are never
-- compared: each space has tables of its own, typed with its dimension, made by
-- create_embedding_space() below, so that the database itself refuses a vector of another size.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE embedding_spaces (
    space_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider   text NOT NULL,
    model      text NOT NULL,
    dimensions integer NOT NULL CHECK (dimensions BETWEEN 1 AND 4000),
    precision  text NOT NULL CHECK (precision IN ('vector', 'halfvec')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider, model, dimensions, precision)
);

-- Which space plays which role in the views below.
CREATE TABLE embedding_roles (
    role     text PRIMARY KEY CHECK (role IN ('small', 'large')),
    space_id integer NOT NULL REFERENCES embedding_spaces
);

-- A text that somebody is buying now. The owner holds the advisory lock of the same number for as
-- long as it lives, so a claim whose lock is free is a dead process's and may be taken over. The
-- owners' sessions do not survive a crash of the server, so the claims need not either: UNLOGGED.
CREATE SEQUENCE embedding_claim_owners;
CREATE UNLOGGED TABLE embedding_claims (
    space_id  integer NOT NULL,
    text_hash bytea NOT NULL,
    owner     bigint NOT NULL,
    PRIMARY KEY (space_id, text_hash)
);
CREATE INDEX embedding_claims_owner ON embedding_claims (owner);

-- What was paid, by run, partition, space and key. Written in the transaction that keeps the answer.
CREATE TABLE embedding_ledger (
    run_id          text NOT NULL,
    corpus          text NOT NULL,
    partition_key   text NOT NULL,
    space_id        integer NOT NULL REFERENCES embedding_spaces,
    key_fingerprint text NOT NULL,
    requests        bigint NOT NULL DEFAULT 0,
    retries         bigint NOT NULL DEFAULT 0,
    rate_limited    bigint NOT NULL DEFAULT 0,
    inputs          bigint NOT NULL DEFAULT 0,
    input_bytes     bigint NOT NULL DEFAULT 0,
    tokens          bigint NOT NULL DEFAULT 0,
    cost_usd        numeric(14, 8) NOT NULL DEFAULT 0,
    first_at        timestamptz NOT NULL DEFAULT now(),
    last_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, corpus, partition_key, space_id, key_fingerprint)
);
COMMENT ON COLUMN embedding_ledger.requests IS 'Answered requests; retries and 429s are counted apart.';
COMMENT ON COLUMN embedding_ledger.key_fingerprint IS 'First 8 hex digits of the key''s SHA-256, never the key.';

-- Texts that the provider refuses. Cleared when the text is embedded or changes.
CREATE TABLE embedding_failures (
    space_id    integer NOT NULL REFERENCES embedding_spaces,
    verse_id    bigint NOT NULL REFERENCES verses ON DELETE CASCADE,
    text_hash   bytea NOT NULL,
    error_class text NOT NULL,
    message     text NOT NULL,
    run_id      text NOT NULL,
    failed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, verse_id)
);

-- The request and token limits, shared by every process on every host: when the next request may
-- go (the generic cell rate algorithm's theoretical arrival times).
CREATE TABLE provider_limits (
    endpoint    text PRIMARY KEY,
    requests_at timestamptz NOT NULL DEFAULT '-infinity',
    tokens_at   timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE TABLE provider_keys (
    endpoint        text NOT NULL,
    key_fingerprint text NOT NULL,
    resting_until   timestamptz NOT NULL DEFAULT '-infinity',
    out_of_quota_at timestamptz,
    PRIMARY KEY (endpoint, key_fingerprint)
);

-- A verse that goes takes its vectors along, but what was paid is set aside among the answers: a
-- folder that was seen half copied costs nothing once it is whole. Not a foreign key: its check locks, dirties and logs
-- one row of verses for each vector written, a fifth of a publication's time. Vectors are written
-- only by INSERT … SELECT FROM verses, under the lock that loading the version takes, too.
CREATE FUNCTION delete_vectors_of_gone_verses() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    FOR n IN SELECT space_id FROM embedding_spaces LOOP
        EXECUTE format($sql$
            WITH removed AS (
                DELETE FROM %I e USING gone WHERE e.verse_id = gone.verse_id
                RETURNING e.text_hash, e.embedding
            )
            INSERT INTO %I (text_hash, embedding, set_aside)
            SELECT DISTINCT ON (text_hash) text_hash, embedding, true FROM removed
            ON CONFLICT DO NOTHING
        $sql$, 'verse_embeddings_s' || n, 'answered_texts_s' || n);
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_vectors_of_gone_verses AFTER DELETE ON verses
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION delete_vectors_of_gone_verses();

-- Makes the tables of one space, once. <n> stands for the space's number:
--   verse_embeddings_s<n>   published vectors, one row a verse
--   answered_texts_s<n>     bought, not yet published: kept so that a killed run pays nothing twice
CREATE FUNCTION create_embedding_space(
    p_provider text, p_model text, p_dimensions integer, p_precision text
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer;
    column_type text := format('%s(%s)', p_precision, p_dimensions);
    -- Bytes of one value. Up to 8,000 it is kept in the row: out of line (pgvector's default above
    -- 2 kB) costs a second index and table look-up for every vector read or written.
    bytes integer := 8 + p_dimensions * CASE p_precision WHEN 'vector' THEN 4 ELSE 2 END;
    storage text := CASE WHEN bytes <= 8000 THEN 'PLAIN' ELSE 'EXTERNAL' END;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('create_embedding_space'));
    SELECT space_id INTO n FROM embedding_spaces
     WHERE (provider, model, dimensions, precision)
         = (p_provider, p_model, p_dimensions, p_precision);
    IF FOUND THEN
        RETURN n;
    END IF;

    INSERT INTO embedding_spaces (provider, model, dimensions, precision)
    VALUES (p_provider, p_model, p_dimensions, p_precision) RETURNING space_id INTO n;

    EXECUTE format($ddl$
        CREATE TABLE %1$I (
            verse_id     bigint PRIMARY KEY,
            version_code text NOT NULL,
            language     text NOT NULL,
            book         text NOT NULL,
            chapter      smallint NOT NULL,
            embedding    %2$s NOT NULL,
            text_hash    bytea NOT NULL,
            run_id       text NOT NULL,
            created_at   timestamptz NOT NULL DEFAULT now()
        );
        ALTER TABLE %1$I ALTER COLUMN embedding SET STORAGE %3$s;
        CREATE INDEX ON %1$I (version_code);
        CREATE INDEX ON %1$I (text_hash);
    $ddl$, 'verse_embeddings_s' || n, column_type, storage);

    EXECUTE format($ddl$
        CREATE TABLE %1$I (
            text_hash bytea PRIMARY KEY,
            embedding %2$s NOT NULL,
            bought_at timestamptz NOT NULL DEFAULT now(),
            -- taken from a verse that is gone: good for the same text, but not for an overwrite
            set_aside boolean NOT NULL DEFAULT false
        );
        ALTER TABLE %1$I ALTER COLUMN embedding SET STORAGE %3$s;
    $ddl$, 'answered_texts_s' || n, column_type, storage);
    RETURN n;
END
$$;

-- Points the view `verse_embeddings` at the spaces that play the two roles.
CREATE FUNCTION refresh_embedding_views() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    small embedding_spaces;
    large embedding_spaces;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('refresh_embedding_views'));
    SELECT s.* INTO small FROM embedding_spaces s JOIN embedding_roles USING (space_id) WHERE role = 'small';
    SELECT s.* INTO large FROM embedding_spaces s JOIN embedding_roles USING (space_id) WHERE role = 'large';
    IF small IS NULL OR large IS NULL THEN
        RETURN;
    END IF;
    DROP VIEW IF EXISTS verse_embeddings;
    EXECUTE format($ddl$
        CREATE VIEW verse_embeddings AS
        SELECT v.verse_id, v.version_code, v.book, v.chapter, v.verse, v.verse_end,
               CASE WHEN s.verse_id IS NOT NULL THEN %2$L END AS model_name_small,
               CASE WHEN s.verse_id IS NOT NULL THEN %3$s END AS dim_small,
               s.embedding AS embedding_small,
               CASE WHEN l.verse_id IS NOT NULL THEN %5$L END AS model_name_large,
               CASE WHEN l.verse_id IS NOT NULL THEN %6$s END AS dim_large,
               l.embedding AS embedding_large
          FROM verses v
          LEFT JOIN %1$I s USING (verse_id)
          LEFT JOIN %4$I l USING (verse_id)
         WHERE s.verse_id IS NOT NULL OR l.verse_id IS NOT NULL
    $ddl$, 'verse_embeddings_s' || small.space_id, small.model, small.dimensions,
           'verse_embeddings_s' || large.space_id, large.model, large.dimensions);
END
$$;
