-- The audit of the corpus: what each one found, and what a release's rows were.

CREATE TABLE audits (
    audit_id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      text NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL DEFAULT now(),
    rows        bigint NOT NULL,
    sampled     integer NOT NULL,
    differences jsonb NOT NULL,
    repaired    bigint NOT NULL,
    notes       text[] NOT NULL
);
COMMENT ON COLUMN audits.differences IS
    'Those that are left: a list of kind, corpus, space, scope, count, examples, reason.';
COMMENT ON COLUMN audits.rows IS 'Vectors and texts compared, over all spaces.';
COMMENT ON COLUMN audits.sampled IS 'Texts that were embedded again.';

-- Written by the transaction of a release. One without rows here was made by an earlier version.
CREATE TABLE released_rows (
    release_id integer NOT NULL REFERENCES releases,
    space_id   integer NOT NULL REFERENCES embedding_spaces,
    scope      text NOT NULL,
    rows       bigint NOT NULL,
    digest     numeric NOT NULL,
    PRIMARY KEY (release_id, space_id, scope)
);
COMMENT ON COLUMN released_rows.digest IS
    'Sum of the digests of the version''s rows: vector, text hash, and what a filter reads.';
