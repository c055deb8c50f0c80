-- Binary codes of vectors: a search compares codes first and exact distances last.

-- Versions and languages by small numbers, which a scan of the codes compares faster than text.
-- A part is here before the first code that has its number.
CREATE TABLE code_parts (
    part   smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    corpus text NOT NULL,
    name   text NOT NULL,
    UNIQUE (corpus, name)
);

-- One way of making codes of the vectors of a corpus in a space. Several may stand beside each
-- other, as index generations do: a release serves by one while another is filled and measured.
CREATE TABLE code_sets (
    code_set   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    corpus     text NOT NULL,
    space_id   integer NOT NULL REFERENCES embedding_spaces,
    state      text NOT NULL CHECK (state IN ('filling', 'ready', 'dropped')),
    encoder    smallint NOT NULL,
    bits       integer NOT NULL,
    mean       real[],
    measured   jsonb NOT NULL,
    run_id     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    ready_at   timestamptz
);
COMMENT ON COLUMN code_sets.encoder IS 'Version of the program''s encoder: another one makes other codes.';
COMMENT ON COLUMN code_sets.mean IS 'Subtracted from each vector before its rotation; null for none.';

CREATE FUNCTION code_table(p_corpus text, p_set integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_corpus WHEN 'bible' THEN 'verse_codes_c' ELSE 'chunk_codes_c' END || p_set
$$;

-- Whatever client changes or deletes a vector, its codes go in the same transaction: a code never
-- belongs to another vector. Arguments: corpus, space, id column, columns that the code depends on
-- or that stand beside it.
CREATE FUNCTION forget_codes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    FOR n IN SELECT code_set FROM code_sets
              WHERE corpus = TG_ARGV[0] AND space_id = TG_ARGV[1]::integer AND state <> 'dropped'
    LOOP
        IF TG_OP = 'TRUNCATE' THEN
            EXECUTE format('TRUNCATE %I', code_table(TG_ARGV[0], n));
        ELSIF TG_OP = 'DELETE' THEN
            EXECUTE format('DELETE FROM %1$I c USING gone WHERE c.%2$I = gone.%2$I',
                           code_table(TG_ARGV[0], n), TG_ARGV[2]);
        ELSE
            EXECUTE format('DELETE FROM %1$I c USING gone WHERE c.%2$I = gone.%2$I AND NOT EXISTS ('
                           'SELECT FROM came WHERE (%2$I, %3$s) = (gone.%2$I, gone.%4$s))',
                           code_table(TG_ARGV[0], n), TG_ARGV[2], TG_ARGV[3],
                           replace(TG_ARGV[3], ', ', ', gone.'));
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- A search finds a row by its code: only the program writes codes, with the vectors they are of. It
-- names the table in its transaction (rag_assets.coding).
CREATE FUNCTION refuse_foreign_codes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('rag_assets.coding', true) IS DISTINCT FROM TG_TABLE_NAME::text THEN
        RAISE EXCEPTION 'codes are written by rag-assets only, with the vectors they belong to'
            USING HINT = 'What is missing is written by materializing the index: rag-assets index build';
    END IF;
    RETURN NULL;
END
$$;

-- Makes the table of a set, and the triggers on the table of vectors, which wait for its writers.
CREATE FUNCTION create_code_set(
    p_corpus text, p_space integer, p_encoder integer, p_bits integer, p_mean real[],
    p_measured jsonb, p_run_id text
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer;
    bible boolean := p_corpus = 'bible';
    id text := CASE WHEN bible THEN 'verse_id' ELSE 'chunk_id' END;
    vectors text := CASE WHEN bible THEN 'verse_embeddings_s' ELSE 'chunk_embeddings_s' END || p_space;
    arguments text := format('%L, %L, %L, %L', p_corpus, p_space, id,
        CASE WHEN bible THEN 'embedding, version_code, book, chapter'
             ELSE 'embedding, language, document_id' END);
BEGIN
    INSERT INTO code_sets (corpus, space_id, state, encoder, bits, mean, measured, run_id)
    VALUES (p_corpus, p_space, 'filling', p_encoder, p_bits, p_mean, p_measured, p_run_id)
    RETURNING code_set INTO n;

    -- The code is kept in the row and as it is: random bits do not compress.
    EXECUTE format($ddl$
        CREATE TABLE %1$I (
            %2$I bigint PRIMARY KEY,
            part smallint NOT NULL,
            %3$s,
            code bit(%4$s) NOT NULL
        );
        ALTER TABLE %1$I ALTER COLUMN code SET STORAGE PLAIN;
        CREATE INDEX ON %1$I (%5$s);
        CREATE TRIGGER refuse_foreign_codes BEFORE INSERT OR UPDATE ON %1$I
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_foreign_codes();
    $ddl$, code_table(p_corpus, n), id,
           CASE WHEN bible THEN 'book text NOT NULL, chapter smallint NOT NULL'
                ELSE 'document_id bigint NOT NULL' END,
           p_bits,
           CASE WHEN bible THEN 'part, book, chapter' ELSE 'part' END);
    IF NOT bible THEN
        EXECUTE format('CREATE INDEX ON %I (document_id)', code_table(p_corpus, n));
    END IF;

    EXECUTE format($ddl$
        CREATE OR REPLACE TRIGGER forget_codes_of_changed AFTER UPDATE ON %1$I
            REFERENCING OLD TABLE AS gone NEW TABLE AS came
            FOR EACH STATEMENT EXECUTE FUNCTION forget_codes(%2$s);
        CREATE OR REPLACE TRIGGER forget_codes_of_deleted AFTER DELETE ON %1$I
            REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION forget_codes(%2$s);
        CREATE OR REPLACE TRIGGER forget_codes_of_all AFTER TRUNCATE ON %1$I
            FOR EACH STATEMENT EXECUTE FUNCTION forget_codes(%2$s);
    $ddl$, vectors, arguments);
    RETURN n;
END
$$;

-- How a generation, a decision and a release use codes: the set, how many of the nearest codes are
-- compared exactly, and up to how many rows a scan of the codes beats the index.
ALTER TABLE index_generations
    ADD COLUMN code_set integer REFERENCES code_sets,
    ADD COLUMN candidates integer,
    ADD COLUMN scan_rows bigint;
ALTER TABLE release_spaces
    ADD COLUMN code_set integer REFERENCES code_sets,
    ADD COLUMN candidates integer,
    ADD COLUMN scan_rows bigint;
ALTER TABLE index_decisions
    ADD COLUMN code_set integer REFERENCES code_sets,
    ADD COLUMN candidates integer,
    ADD COLUMN scan_rows bigint,
    ADD COLUMN tuning jsonb,
    ADD COLUMN rows_changed bigint,
    DROP CONSTRAINT index_decisions_action_check,
    DROP CONSTRAINT index_decisions_check,
    ADD CONSTRAINT index_decisions_action_check
        CHECK (action IN ('build', 'keep', 'exact', 'codes')),
    ADD CONSTRAINT index_decisions_check
        CHECK ((action IN ('exact', 'codes')) = (generation IS NULL));
COMMENT ON COLUMN index_decisions.tuning IS 'What the scan of the codes was measured to give; null for an index.';
COMMENT ON COLUMN index_decisions.rows_changed IS
    'Sum of vector_revisions.rows_changed when the scan was measured.';
