-- Whether a window of the weekend backfill will still start versions: the index automation waits.

ALTER TABLE backfill_windows
    ALTER COLUMN documents SET DEFAULT 0,
    ALTER COLUMN cost_usd SET DEFAULT 0,
    ADD COLUMN versions_due boolean NOT NULL DEFAULT false,
    ADD COLUMN ticked_at timestamptz;
COMMENT ON COLUMN backfill_windows.versions_due IS 'Whether the last tick started versions, or had to wait for a run to end.';
