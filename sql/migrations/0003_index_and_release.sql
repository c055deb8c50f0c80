-- Index generations, the evidence that checks leave, and releases: what may be served.

-- Every change of a scope's vectors or texts gives it a new revision. Evidence says which revision
-- it saw, so that evidence about earlier data can be told from evidence about this data. A scope is
-- a Bible version. A space's own revision is the sum over its scopes: it grows with every change,
-- in whatever order the transactions commit.
CREATE SEQUENCE corpus_revisions;
CREATE TABLE vector_revisions (
    corpus       text NOT NULL,
    space_id     integer NOT NULL REFERENCES embedding_spaces,
    scope        text NOT NULL,
    revision     bigint NOT NULL,
    rows_changed bigint NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (corpus, space_id, scope)
);
COMMENT ON COLUMN vector_revisions.rows_changed IS
    'Vectors written or deleted, ever: the difference to an earlier figure is the churn.';

CREATE FUNCTION record_vector_change(p_corpus text, p_space integer, p_scope text, p_rows bigint)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO vector_revisions AS r (corpus, space_id, scope, revision, rows_changed)
    VALUES (p_corpus, p_space, p_scope, nextval('corpus_revisions'), p_rows)
    ON CONFLICT (corpus, space_id, scope) DO UPDATE
       SET (revision, rows_changed, changed_at)
         = (EXCLUDED.revision, r.rows_changed + EXCLUDED.rows_changed, now())
$$;

DO $$
DECLARE
    n integer;
BEGIN
    FOR n IN SELECT space_id FROM embedding_spaces LOOP
        EXECUTE format($sql$
            SELECT record_vector_change('bible', %s, version_code, count(*)) FROM %I
             GROUP BY version_code
        $sql$, n, 'verse_embeddings_s' || n);
    END LOOP;
END
$$;

-- As before, and the deletion counts as a change of the version.
CREATE OR REPLACE FUNCTION delete_vectors_of_gone_verses() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    FOR n IN SELECT space_id FROM embedding_spaces LOOP
        EXECUTE format($sql$
            WITH removed AS (
                DELETE FROM %I e USING gone WHERE e.verse_id = gone.verse_id
                RETURNING e.version_code, e.text_hash, e.embedding
            ), kept AS (
                INSERT INTO %I (text_hash, embedding, set_aside)
                SELECT DISTINCT ON (text_hash) text_hash, embedding, true FROM removed
                ON CONFLICT DO NOTHING
            )
            SELECT record_vector_change('bible', %s, version_code, count(*)) FROM removed
             GROUP BY version_code
        $sql$, 'verse_embeddings_s' || n, 'answered_texts_s' || n, n);
    END LOOP;
    RETURN NULL;
END
$$;

-- One build of an index. Its number stands in the index's predicate, <id> <> -N, which is always
-- true: a query that repeats it is answered by exactly this index.
CREATE TABLE index_generations (
    generation        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    corpus            text NOT NULL,
    space_id          integer NOT NULL REFERENCES embedding_spaces,
    state             text NOT NULL CHECK (state IN ('building', 'ready', 'failed', 'dropped')),
    precision         text NOT NULL CHECK (precision IN ('vector', 'halfvec')),
    lists             integer NOT NULL,
    lists_from        text NOT NULL CHECK (lists_from IN ('profile', 'asked', 'measured')),
    rows_at_build     bigint NOT NULL,
    changed_at_build  bigint NOT NULL,
    probes            integer,
    filtered_probes   integer,
    max_probes        integer,
    exact_rows        bigint,
    tuning            jsonb,
    build_seconds     double precision,
    index_bytes       bigint,
    error             text,
    run_id            text NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT now(),
    ended_at          timestamptz
);
COMMENT ON COLUMN index_generations.changed_at_build IS
    'Sum of vector_revisions.rows_changed when the build began.';

-- The last decision on each space: which generation is to serve it next, or none (exact search).
CREATE TABLE index_decisions (
    corpus     text NOT NULL,
    space_id   integer NOT NULL REFERENCES embedding_spaces,
    action     text NOT NULL CHECK (action IN ('build', 'keep', 'exact')),
    generation integer REFERENCES index_generations,
    reasons    text[] NOT NULL,
    rows       bigint NOT NULL,
    revision   bigint NOT NULL,
    run_id     text NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (corpus, space_id),
    CHECK ((action = 'exact') = (generation IS NULL))
);

-- The last result of each check, by what it judged: a version's vectors (subject = its code), or
-- an index (subject = 'generation 7', or 'exact').
CREATE TABLE check_results (
    corpus       text NOT NULL,
    space_id     integer NOT NULL REFERENCES embedding_spaces,
    subject      text NOT NULL,
    check_name   text NOT NULL,
    passed       boolean NOT NULL,
    reasons      text[] NOT NULL,
    measured     jsonb NOT NULL,
    revision     bigint NOT NULL,
    run_id       text NOT NULL,
    evaluated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (corpus, space_id, subject, check_name)
);

CREATE TABLE releases (
    release_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state        text NOT NULL
        CHECK (state IN ('candidate', 'active', 'superseded', 'rolled_back', 'refused')),
    versions     text[] NOT NULL,
    reasons      text[] NOT NULL,
    manifest     jsonb NOT NULL,
    previous_id  integer REFERENCES releases,
    code_version text NOT NULL,
    run_id       text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    ended_at     timestamptz
);
CREATE UNIQUE INDEX releases_one_active ON releases (state) WHERE state = 'active';
COMMENT ON COLUMN releases.reasons IS 'Why it was refused; empty for all others.';
COMMENT ON COLUMN releases.previous_id IS 'The release that a rollback of this one brings back.';

-- What a release serves, by corpus and role; generation is null where exact search serves.
CREATE TABLE release_spaces (
    release_id      integer NOT NULL REFERENCES releases,
    corpus          text NOT NULL,
    role            text NOT NULL CHECK (role IN ('small', 'large')),
    space_id        integer NOT NULL REFERENCES embedding_spaces,
    generation      integer REFERENCES index_generations,
    probes          integer,
    filtered_probes integer,
    max_probes      integer,
    exact_rows      bigint,
    PRIMARY KEY (release_id, corpus, role)
);
