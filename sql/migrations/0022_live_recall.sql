-- How many of the hits that exact search finds were found by searches of users, for the sampled
-- share that the API repeats exactly. One row per hour, release, corpora and plan; no query texts.

CREATE TABLE live_recall (
    hour        timestamptz NOT NULL,
    release_id  bigint NOT NULL,
    corpus      text   NOT NULL,
    plan        text   NOT NULL,
    compared    bigint NOT NULL DEFAULT 0 CHECK (compared >= 0),
    failed      bigint NOT NULL DEFAULT 0 CHECK (failed >= 0),
    skipped     bigint NOT NULL DEFAULT 0 CHECK (skipped >= 0),
    hits        bigint NOT NULL DEFAULT 0 CHECK (hits >= 0),
    hits_found  bigint NOT NULL DEFAULT 0 CHECK (hits_found BETWEEN 0 AND hits),
    PRIMARY KEY (hour, release_id, corpus, plan)
);
COMMENT ON COLUMN live_recall.corpus IS 'What was searched: bible, documents or both.';
COMMENT ON COLUMN live_recall.skipped IS 'Sampled searches that were not repeated, for the budget.';
COMMENT ON COLUMN live_recall.hits IS 'The first ten hits of the exact searches, summed.';
