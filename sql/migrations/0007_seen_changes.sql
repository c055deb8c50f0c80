-- Every change of texts or vectors is seen, whatever client makes it.
--
-- A change is one row of vector_changes: writers never wait for each other, as they would on a row
-- that counts for all of them. A scope's revision is the number of its changes; what is older is
-- folded into vector_revisions.
CREATE TABLE vector_changes (
    corpus       text NOT NULL,
    space_id     integer NOT NULL,
    scope        text NOT NULL,
    rows_changed bigint NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX vector_changes_scope ON vector_changes (corpus, space_id, scope);

CREATE VIEW scope_revisions AS
SELECT corpus, space_id, scope, sum(revision)::bigint AS revision,
       sum(rows_changed)::bigint AS rows_changed
  FROM (SELECT corpus, space_id, scope, revision, rows_changed FROM vector_revisions
         UNION ALL
        SELECT corpus, space_id, scope, 1, rows_changed FROM vector_changes) AS changes
 GROUP BY corpus, space_id, scope;

CREATE OR REPLACE FUNCTION record_vector_change(
    p_corpus text, p_space integer, p_scope text, p_rows bigint
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO vector_changes (corpus, space_id, scope, rows_changed)
    VALUES (p_corpus, p_space, p_scope, p_rows)
$$;

-- Where another session is folding, there is nothing left to do.
CREATE FUNCTION fold_vector_changes() RETURNS void LANGUAGE sql AS $$
    WITH turn AS MATERIALIZED (
        SELECT pg_try_advisory_xact_lock(hashtext('fold_vector_changes')) AS mine
    ), folded AS (
        DELETE FROM vector_changes WHERE (SELECT mine FROM turn) RETURNING *
    )
    INSERT INTO vector_revisions AS r (corpus, space_id, scope, revision, rows_changed, changed_at)
    SELECT corpus, space_id, scope, count(*), sum(rows_changed), max(changed_at) FROM folded
     GROUP BY corpus, space_id, scope
    ON CONFLICT (corpus, space_id, scope) DO UPDATE
       SET (revision, rows_changed, changed_at)
         = (r.revision + EXCLUDED.revision, r.rows_changed + EXCLUDED.rows_changed,
            EXCLUDED.changed_at)
$$;

-- What an embedding run says before it writes vectors of a scope, in the transaction that writes
-- them. It raises the revision, so that nothing can be written as a run's own without that.
-- Without a scope, as a restore says it: of all those that are known.
CREATE FUNCTION announce_vectors(p_corpus text, p_space integer, p_scope text, p_rows bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_scope IS NULL THEN
        PERFORM record_vector_change(corpus, space_id, scope, 0) FROM scope_revisions
          WHERE corpus = p_corpus AND space_id = p_space;
    ELSE
        PERFORM record_vector_change(p_corpus, p_space, p_scope, p_rows);
    END IF;
    PERFORM set_config(
        'rag_assets.writing', concat_ws('/', p_corpus, p_space, coalesce(p_scope, '*')), true
    );
END
$$;

-- Vectors that no embedding run announced. By row and not by statement: a transition table would
-- keep a second copy of each vector that a run writes (0.2 s of 1.7 for 31,000 of 3 kB), where the
-- trigger's WHEN costs a run nothing that can be measured.
CREATE FUNCTION mark_unannounced_vector() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    corpus text := TG_ARGV[0];
    space integer := TG_ARGV[1];
    scope text;
BEGIN
    IF corpus = 'bible' THEN
        scope := NEW.version_code;
        IF TG_OP = 'UPDATE' AND OLD.version_code <> scope THEN
            PERFORM record_vector_change(corpus, space, OLD.version_code, 1);
        END IF;
    ELSE
        scope := NEW.collection;
    END IF;
    PERFORM record_vector_change(corpus, space, scope, 1);
    NEW.unverified := true;
    RETURN NEW;
END
$$;

CREATE FUNCTION record_deleted_vectors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'SELECT record_vector_change(%L, %s, %3$I, count(*)) FROM %4$I GROUP BY %3$I',
        TG_ARGV[0], TG_ARGV[1], TG_ARGV[2],
        CASE TG_OP WHEN 'TRUNCATE' THEN TG_TABLE_NAME ELSE 'gone' END
    );
    RETURN NULL;
END
$$;

-- Puts one table of vectors under watch.
CREATE FUNCTION watch_vectors(p_corpus text, p_space integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    bible boolean := p_corpus = 'bible';
    name text := CASE WHEN bible THEN 'verse_embeddings_s' ELSE 'chunk_embeddings_s' END || p_space;
    scope text := CASE WHEN bible THEN 'version_code' ELSE 'collection' END;
BEGIN
    IF EXISTS (SELECT FROM pg_attribute
                WHERE attrelid = name::regclass AND attname = 'unverified') THEN
        RETURN;
    END IF;
    EXECUTE format($ddl$
        ALTER TABLE %1$I ADD COLUMN unverified boolean NOT NULL DEFAULT false;
        COMMENT ON COLUMN %1$I.unverified IS
            'Not written by an embedding run, nor compared with what one would write.';
        CREATE INDEX ON %1$I (%2$I) WHERE unverified;
        CREATE TRIGGER mark_unannounced_vector BEFORE INSERT OR UPDATE ON %1$I
            FOR EACH ROW WHEN (coalesce(current_setting('rag_assets.writing', true), '')
                               NOT IN (%5$L || NEW.%2$I, %6$L))
            EXECUTE FUNCTION mark_unannounced_vector(%3$L, %4$L);
        CREATE TRIGGER record_deleted_vectors AFTER DELETE ON %1$I
            REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION record_deleted_vectors(%3$L, %4$L, %2$L);
        CREATE TRIGGER record_truncated_vectors BEFORE TRUNCATE ON %1$I
            FOR EACH STATEMENT EXECUTE FUNCTION record_deleted_vectors(%3$L, %4$L, %2$L);
    $ddl$, name, scope, p_corpus, p_space, concat_ws('/', p_corpus, p_space, ''),
           concat_ws('/', p_corpus, p_space, '*'));
END
$$;

SELECT watch_vectors(corpus, space_id)
  FROM embedding_spaces CROSS JOIN (VALUES ('bible'), ('documents')) AS corpora (corpus);

ALTER FUNCTION create_embedding_space(text, text, integer, text)
    RENAME TO create_embedding_space_tables;
CREATE FUNCTION create_embedding_space(
    p_provider text, p_model text, p_dimensions integer, p_precision text
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer := create_embedding_space_tables(p_provider, p_model, p_dimensions, p_precision);
BEGIN
    PERFORM watch_vectors('bible', n), watch_vectors('documents', n);
    RETURN n;
END
$$;

-- As before, but vectors that were never verified are not set aside for others to use, and the
-- vectors' own triggers record the change.
CREATE OR REPLACE FUNCTION delete_vectors_of_gone_verses() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    FOR n IN SELECT space_id FROM embedding_spaces LOOP
        EXECUTE format($sql$
            WITH removed AS (
                DELETE FROM %I e USING gone WHERE e.verse_id = gone.verse_id
                RETURNING e.text_hash, e.embedding, e.unverified
            )
            INSERT INTO %I (text_hash, embedding, set_aside)
            SELECT DISTINCT ON (text_hash) text_hash, embedding, true FROM removed
             WHERE NOT unverified
            ON CONFLICT DO NOTHING
        $sql$, 'verse_embeddings_s' || n, 'answered_texts_s' || n);
    END LOOP;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION delete_vectors_of_gone_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    FOR n IN SELECT space_id FROM embedding_spaces ORDER BY space_id LOOP
        EXECUTE format(
            'DELETE FROM %I e USING gone WHERE e.chunk_id = gone.chunk_id',
            'chunk_embeddings_s' || n
        );
    END LOOP;
    RETURN NULL;
END
$$;

-- The hash decides whether a vector is of the present text: it is always that of the text.
CREATE FUNCTION hash_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.text_hash := sha256(convert_to(NEW.text, 'UTF8'));
    RETURN NEW;
END
$$;
CREATE TRIGGER hash_text BEFORE INSERT OR UPDATE OF text, text_hash ON verses
    FOR EACH ROW WHEN (NEW.text_hash IS DISTINCT FROM sha256(convert_to(NEW.text, 'UTF8')))
    EXECUTE FUNCTION hash_text();
CREATE TRIGGER hash_text BEFORE INSERT OR UPDATE OF text, text_hash ON document_chunks
    FOR EACH ROW WHEN (NEW.text_hash IS DISTINCT FROM sha256(convert_to(NEW.text, 'UTF8')))
    EXECUTE FUNCTION hash_text();

-- A change of texts counts in each space that has, or had, vectors of them.
CREATE FUNCTION record_text_change(p_corpus text, p_scope text) RETURNS void LANGUAGE sql AS $$
    SELECT record_vector_change(p_corpus, space_id, p_scope, 0) FROM embedding_spaces s
     WHERE EXISTS (SELECT FROM vector_changes c
                    WHERE (c.corpus, c.space_id, c.scope) = (p_corpus, s.space_id, p_scope))
        OR EXISTS (SELECT FROM vector_revisions r
                    WHERE (r.corpus, r.space_id, r.scope) = (p_corpus, s.space_id, p_scope))
$$;

CREATE FUNCTION record_changed_verses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM record_text_change('bible', version_code)
       FROM (SELECT DISTINCT version_code FROM changed) AS versions;
    RETURN NULL;
END
$$;
CREATE TRIGGER record_inserted_verses AFTER INSERT ON verses REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_verses();
CREATE TRIGGER record_updated_verses AFTER UPDATE ON verses REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_verses();
CREATE TRIGGER record_deleted_verses AFTER DELETE ON verses REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_verses();

CREATE FUNCTION record_changed_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM record_text_change('documents', 'documents');
    RETURN NULL;
END
$$;
CREATE TRIGGER record_changed_chunks AFTER INSERT OR UPDATE OF text, text_hash ON document_chunks
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_chunks();

-- TRUNCATE runs no trigger for DELETE: without this, vectors would outlive their texts.
CREATE FUNCTION delete_before_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DELETE FROM %I', TG_TABLE_NAME);
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_before_truncate BEFORE TRUNCATE ON verses
    FOR EACH STATEMENT EXECUTE FUNCTION delete_before_truncate();
CREATE TRIGGER delete_before_truncate BEFORE TRUNCATE ON document_chunks
    FOR EACH STATEMENT EXECUTE FUNCTION delete_before_truncate();
