-- What the retrieval API keeps: full text search, keys, limits, embedded queries.

-- The configuration that fits a version's language, by the language in its code.
CREATE FUNCTION text_search_configuration(p_version text) RETURNS regconfig
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE split_part(p_version, '_', 1)
        WHEN 'PT' THEN 'pg_catalog.portuguese'::regconfig
        WHEN 'EN' THEN 'pg_catalog.english'::regconfig
        WHEN 'ES' THEN 'pg_catalog.spanish'::regconfig
        WHEN 'FR' THEN 'pg_catalog.french'::regconfig
        WHEN 'DE' THEN 'pg_catalog.german'::regconfig
        WHEN 'IT' THEN 'pg_catalog.italian'::regconfig
        WHEN 'NL' THEN 'pg_catalog.dutch'::regconfig
        ELSE 'pg_catalog.simple'::regconfig
    END
$$;

-- Stored, because ranking reads it for each match: computing it there took 20 µs a verse.
ALTER TABLE verses ADD COLUMN text_search tsvector NOT NULL
    GENERATED ALWAYS AS (to_tsvector(text_search_configuration(version_code), text)) STORED;
CREATE INDEX verses_text_search ON verses USING gin (text_search);

-- Only a hash of the secret: it holds 256 random bits, so that a fast hash is safe.
CREATE TABLE api_keys (
    key_id              text PRIMARY KEY,
    name                text NOT NULL,
    secret_hash         bytea NOT NULL,
    scopes              text[] NOT NULL CHECK (scopes <@ ARRAY['read', 'admin']),
    requests_per_minute integer NOT NULL CHECK (requests_per_minute > 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    revoked_at          timestamptz
);

-- When each key's next request may come (the generic cell rate algorithm's theoretical arrival
-- time), for all workers on all hosts. A crash forgets it, which costs nobody anything.
CREATE UNLOGGED TABLE api_limits (
    key_id     text PRIMARY KEY,
    arrives_at timestamptz NOT NULL
);

-- Queries that were embedded before, by space and normalised text.
CREATE TABLE query_embeddings (
    space_id   integer NOT NULL REFERENCES embedding_spaces,
    query_hash bytea NOT NULL,
    embedding  bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, query_hash)
);
CREATE INDEX query_embeddings_created ON query_embeddings (created_at);
COMMENT ON COLUMN query_embeddings.query_hash IS 'SHA-256 of the normalised text; never the text.';
COMMENT ON COLUMN query_embeddings.embedding IS 'Components as little-endian float32.';
