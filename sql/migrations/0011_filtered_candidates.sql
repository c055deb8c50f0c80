-- Under a filter the nearest codes that pass it are no longer the nearest of all: what is near may have
-- been left out, and more of the rest must be compared exactly. Empty in records of earlier versions,
-- which compared as many as without a filter.
ALTER TABLE index_generations ADD COLUMN filtered_candidates integer;
ALTER TABLE release_spaces ADD COLUMN filtered_candidates integer;
ALTER TABLE index_decisions ADD COLUMN filtered_candidates integer;
