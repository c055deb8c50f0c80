-- All oddities of a version's source, as its last load found them.
--
-- Null for a version that was loaded by an earlier release: unknown, not none. An earlier release that
-- loads the version again leaves them as they are, but changes run_id: they count only with their own.
ALTER TABLE bible_versions ADD COLUMN oddities jsonb;
COMMENT ON COLUMN bible_versions.oddities IS
    '{"run_id": …, "found": [[kind, reference, detail], …]}; valid while run_id is the row''s.';
