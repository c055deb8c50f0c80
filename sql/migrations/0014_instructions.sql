-- Queries and passages are embedded apart where the model wants it: how is part of what makes a
-- space (rag_assets.settings.instructions). Spaces that are there were made without.
ALTER TABLE embedding_spaces
    ADD COLUMN instructions text NOT NULL DEFAULT '',
    ADD COLUMN dropped_at timestamptz;
COMMENT ON COLUMN embedding_spaces.instructions IS
    'What goes with a query and with a passage, as JSON; empty for nothing.';
ALTER TABLE embedding_spaces
    ADD UNIQUE (provider, model, dimensions, precision, instructions),
    DROP CONSTRAINT embedding_spaces_provider_model_dimensions_precision_key;

COMMENT ON COLUMN embedding_spaces.dropped_at IS
    'Its vectors are gone: no release that searched them can serve again.';

-- As before, with the instructions. A space that was dropped is one to fill again.
CREATE FUNCTION create_embedding_space(
    p_provider text, p_model text, p_dimensions integer, p_precision text, p_instructions text
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer;
    column_type text := format('%s(%s)', p_precision, p_dimensions);
    -- Bytes of one value: see 0002.
    bytes integer := 8 + p_dimensions * CASE p_precision WHEN 'vector' THEN 4 ELSE 2 END;
    storage text := CASE WHEN bytes <= 8000 THEN 'PLAIN' ELSE 'EXTERNAL' END;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('create_embedding_space'));
    SELECT space_id INTO n FROM embedding_spaces
     WHERE (provider, model, dimensions, precision, instructions)
         = (p_provider, p_model, p_dimensions, p_precision, p_instructions);
    IF FOUND THEN
        UPDATE embedding_spaces SET dropped_at = NULL WHERE space_id = n AND dropped_at IS NOT NULL;
        RETURN n;
    END IF;

    INSERT INTO embedding_spaces (provider, model, dimensions, precision, instructions)
    VALUES (p_provider, p_model, p_dimensions, p_precision, p_instructions)
    RETURNING space_id INTO n;

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

    PERFORM watch_vectors('bible', n), watch_vectors('documents', n);
    RETURN n;
END
$$;

-- The form that the previous version of the program calls.
CREATE OR REPLACE FUNCTION create_embedding_space(
    p_provider text, p_model text, p_dimensions integer, p_precision text
) RETURNS integer LANGUAGE sql AS $$
    SELECT create_embedding_space(p_provider, p_model, p_dimensions, p_precision, '')
$$;
DROP FUNCTION create_embedding_space_tables(text, text, integer, text);
