-- Texts of the API's queries, where the operator allows it (RAG_LIVE_QUERIES): an index is judged by
-- a sample of them. The program of before writes none.
ALTER TABLE query_embeddings ADD COLUMN query text;
COMMENT ON COLUMN query_embeddings.query IS
    'The text of a query of the API, only while RAG_LIVE_QUERIES is true; never of other queries.';
COMMENT ON COLUMN query_embeddings.query_hash IS 'SHA-256 of the normalised text.';
CREATE INDEX query_embeddings_live ON query_embeddings (space_id) WHERE query IS NOT NULL;
