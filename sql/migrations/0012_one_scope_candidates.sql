-- A filter to one version takes fewer candidates than one to a language does, which passes many more
-- rows that are about as far from a query. Empty in records of earlier versions, which compared as
-- many for either.
ALTER TABLE index_generations ADD COLUMN one_scope_candidates integer;
ALTER TABLE release_spaces ADD COLUMN one_scope_candidates integer;
ALTER TABLE index_decisions ADD COLUMN one_scope_candidates integer;
