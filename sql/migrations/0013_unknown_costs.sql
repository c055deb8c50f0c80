-- What an unknown price makes of a cost is unknown, not 0.
ALTER TABLE embedding_ledger ALTER COLUMN cost_usd DROP NOT NULL;
ALTER TABLE capacity_days ALTER COLUMN cost_usd DROP NOT NULL;
