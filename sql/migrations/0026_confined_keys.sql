-- Keys that may read only some corpora, versions and languages; null for no restriction.
--
-- A confined key has no scope here: a release that does not know these columns refuses it, where it
-- would otherwise show everything. Since this one, such a key has the scope read.
ALTER TABLE api_keys
    ADD COLUMN corpora   text[] CHECK (corpora <@ ARRAY['bible', 'documents'] AND corpora <> '{}'),
    ADD COLUMN versions  text[] CHECK (versions <> '{}'),
    ADD COLUMN languages text[] CHECK (languages <> '{}'),
    ADD CONSTRAINT api_keys_confined
        CHECK (scopes = '{}' OR (corpora IS NULL AND versions IS NULL AND languages IS NULL));
COMMENT ON COLUMN api_keys.versions IS 'Patterns of version codes, such as PT_*.';
COMMENT ON COLUMN api_keys.languages IS 'Primary language subtags, such as pt.';
