-- What the words of a query count beside its vector depends on the language of the passages: a model that
-- does not know it makes noise of them.
ALTER TABLE release_texts ADD COLUMN weights jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN release_texts.weights IS 'Measured weights by language, which replace the default; those of a setting are in weight.';
