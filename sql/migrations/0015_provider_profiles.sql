-- What a probe found that a server does, for each space and address, so that it is found out once.
-- The previous version does not read it, and speaks to servers as its settings say.
CREATE TABLE provider_profiles (
    space_id  integer     NOT NULL REFERENCES embedding_spaces ON DELETE CASCADE,
    endpoint  text        NOT NULL,
    profile   jsonb       NOT NULL,
    probed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, endpoint)
);
