-- Operations: what happened (attempts, runs, samples of the queue), what was done about trouble
-- (controls, incidents, actions, messages), and what each day took.

-- How each attempt at a document ended, written by a trigger in the transaction that ends it: no
-- process has to live, or to remember, for the counts to be right.
CREATE TABLE document_attempts (
    attempt_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id bigint NOT NULL,
    lane        text NOT NULL,
    run_id      text,
    outcome     text NOT NULL
        CHECK (outcome IN ('succeeded', 'failed', 'dead', 'lost', 'returned', 'superseded')),
    error_class text,
    bytes       bigint NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    counted     boolean NOT NULL DEFAULT false
);
CREATE INDEX document_attempts_ended ON document_attempts (ended_at);
CREATE INDEX document_attempts_uncounted ON document_attempts (attempt_id) WHERE NOT counted;
COMMENT ON COLUMN document_attempts.outcome IS
    'failed: is tried again. dead: is not. lost: its run died. returned: given back untried, such as '
    'in an outage. superseded: its content changed, or it was withdrawn, meanwhile.';
COMMENT ON COLUMN document_attempts.counted IS 'Already in attempt_totals.';

-- Attempts that ended, ever. They grow and never fall, also when old attempts are deleted.
CREATE TABLE attempt_totals (
    lane     text NOT NULL,
    outcome  text NOT NULL,
    attempts bigint NOT NULL,
    seconds  double precision NOT NULL,
    buckets  bigint[] NOT NULL,
    PRIMARY KEY (lane, outcome)
);
COMMENT ON COLUMN attempt_totals.buckets IS
    'How many fell between two of attempt_bounds(), and above the last; not cumulated.';

-- Upper bounds, in seconds, of the histogram of how long an attempt took.
CREATE FUNCTION attempt_bounds() RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[0.5, 1, 2, 5, 10, 20, 30, 60, 120, 180, 240, 300, 420, 600, 900, 1800]::float8[]
$$;

-- How many values fell into each of the buckets; the last one is of those above all bounds.
CREATE FUNCTION add_array(bigint[], bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN $1 IS NULL THEN $2 ELSE
           (SELECT array_agg(a + b ORDER BY place)
              FROM unnest($1, $2) WITH ORDINALITY AS pairs (a, b, place)) END
$$;
CREATE AGGREGATE add_arrays(bigint[]) (SFUNC = add_array, STYPE = bigint[], PARALLEL = SAFE,
                                       COMBINEFUNC = add_array);

-- Rows that attempt_totals does not hold yet, in its terms.
CREATE VIEW uncounted_attempts AS
WITH placed AS (
    SELECT lane, outcome, seconds,
           -- in (a, b], as Prometheus has it; width_bucket has [a, b)
           (SELECT count(*) FROM unnest(attempt_bounds()) AS bound WHERE bound < seconds) AS place
      FROM (SELECT lane, outcome,
                   greatest(0, extract(epoch FROM ended_at - started_at))::float8 AS seconds
              FROM document_attempts WHERE NOT counted) AS timed
), grouped AS (
    SELECT lane, outcome, place, count(*) AS attempts, sum(seconds) AS seconds
      FROM placed GROUP BY lane, outcome, place
)
SELECT lane, outcome, sum(attempts)::bigint AS attempts, sum(seconds) AS seconds,
       (SELECT array_agg(coalesce(n, 0) ORDER BY p)
          FROM generate_series(0, cardinality(attempt_bounds())) AS p
          LEFT JOIN unnest(array_agg(place), array_agg(attempts)) AS seen (at, n) ON at = p
       ) AS buckets
  FROM grouped GROUP BY lane, outcome;

-- As its owner: an upload ends the attempt at what it replaces, and the API may not write here.
CREATE FUNCTION record_document_attempt() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO document_attempts (document_id, lane, run_id, outcome, error_class, bytes,
                                   started_at)
    VALUES (
        OLD.document_id, OLD.lane, OLD.run_id,
        CASE
            WHEN NEW.state = 'ready' THEN 'succeeded'
            WHEN NEW.error_class = 'WorkerLostError' THEN 'lost'
            WHEN NEW.state = 'dead' THEN 'dead'
            WHEN NEW.state = 'withdrawn' THEN 'superseded'
            WHEN NEW.content_hash IS DISTINCT FROM OLD.content_hash THEN 'superseded'
            WHEN NEW.attempts < OLD.attempts THEN 'returned'
            ELSE 'failed'
        END,
        CASE WHEN NEW.state IN ('waiting', 'dead') THEN NEW.error_class END,
        OLD.bytes, coalesce(OLD.started_at, now()));
    RETURN NULL;
END
$$;
CREATE TRIGGER record_document_attempt AFTER UPDATE OF state ON documents
    FOR EACH ROW WHEN (OLD.state = 'running' AND NEW.state <> 'running')
    EXECUTE FUNCTION record_document_attempt();

-- Dagster's runs that ended, each once, kept here because Dagster's own may be deleted.
CREATE TABLE ended_runs (
    run_id     text PRIMARY KEY,
    job        text NOT NULL,
    lane       text,
    status     text NOT NULL CHECK (status IN ('SUCCESS', 'FAILURE', 'CANCELED')),
    started_at timestamptz,
    ended_at   timestamptz NOT NULL,
    fault      text
);
CREATE INDEX ended_runs_ended ON ended_runs (ended_at);
COMMENT ON COLUMN ended_runs.fault IS
    'What Dagster said of a run whose process ended by itself, such as: killed by signal 9.';
CREATE TABLE run_totals (
    job     text NOT NULL,
    status  text NOT NULL,
    runs    bigint NOT NULL,
    seconds double precision NOT NULL,
    PRIMARY KEY (job, status)
);

-- The queue as it was every half minute: for the plots of reports, and a day's peak.
CREATE TABLE queue_samples (
    sampled_at timestamptz NOT NULL,
    lane       text NOT NULL,
    waiting    integer NOT NULL,
    running    integer NOT NULL,
    dead       integer NOT NULL,
    succeeded  bigint NOT NULL,
    PRIMARY KEY (sampled_at, lane)
);
COMMENT ON COLUMN queue_samples.succeeded IS 'Attempts that succeeded, ever.';

-- What was bought until then, ever, by key; a row where it had changed since the one before.
CREATE TABLE provider_samples (
    sampled_at      timestamptz NOT NULL,
    key_fingerprint text NOT NULL,
    requests        bigint NOT NULL,
    rate_limited    bigint NOT NULL,
    tokens          bigint NOT NULL,
    cost_usd        double precision NOT NULL,
    PRIMARY KEY (key_fingerprint, sampled_at)
);

-- A lane from which no run is started for now, and why.
CREATE TABLE paused_lanes (
    lane      text PRIMARY KEY,
    reason    text NOT NULL,
    paused_by text NOT NULL CHECK (paused_by IN ('recovery', 'command')),
    paused_at timestamptz NOT NULL DEFAULT now()
);

-- The share of the configured batch size and concurrency that may be used while a provider limits
-- the rate. Read with each request's slot, so that runs under way follow it, too.
ALTER TABLE provider_limits
    ADD COLUMN share real NOT NULL DEFAULT 1 CHECK (share > 0 AND share <= 1),
    ADD COLUMN share_set_at timestamptz;

CREATE TABLE incidents (
    incident_id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state              text NOT NULL CHECK (state IN ('open', 'recovering', 'escalated', 'closed')),
    cause              text NOT NULL,
    evidence           jsonb NOT NULL,
    began_at           timestamptz NOT NULL,
    noticed_at         timestamptz NOT NULL DEFAULT now(),
    recovering_at      timestamptz,
    escalated_at       timestamptz,
    ended_at           timestamptz,
    longest_queue      integer NOT NULL DEFAULT 0,
    documents_affected integer NOT NULL DEFAULT 0,
    failed_jobs        integer NOT NULL DEFAULT 0,
    reported_run       text
);
CREATE UNIQUE INDEX incidents_one_at_a_time ON incidents ((true)) WHERE state <> 'closed';
COMMENT ON COLUMN incidents.began_at IS 'When the trouble began, as far as the evidence goes back.';
COMMENT ON COLUMN incidents.recovering_at IS 'When work went on again.';

CREATE TABLE recovery_actions (
    action_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id integer REFERENCES incidents,
    action      text NOT NULL,
    subject     text NOT NULL,
    reason      text NOT NULL,
    done        boolean NOT NULL,
    told        text NOT NULL DEFAULT '',
    acted_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX recovery_actions_acted ON recovery_actions (acted_at);

-- What was, or is to be, said to Slack: once for each subject.
CREATE TABLE messages (
    subject    text PRIMARY KEY,
    text       text NOT NULL,
    urgent     boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz,
    attempts   integer NOT NULL DEFAULT 0,
    error      text
);
CREATE INDEX messages_unsent ON messages (created_at) WHERE sent_at IS NULL;

-- What a window of the weekend backfill let the documents of another model cost, by estimate: their
-- runs take other documents along, so that the ledger cannot tell.
CREATE TABLE backfill_windows (
    opens     timestamptz PRIMARY KEY,
    documents integer NOT NULL,
    cost_usd  double precision NOT NULL
);

CREATE TABLE capacity_days (
    day            date PRIMARY KEY,
    jobs           integer NOT NULL,
    failed         integer NOT NULL,
    dead           integer NOT NULL,
    mean_seconds   double precision,
    p95_seconds    double precision,
    queue_peak     integer NOT NULL,
    runs           integer NOT NULL,
    failed_runs    integer NOT NULL,
    busy_share     double precision,
    requests       bigint NOT NULL,
    rate_limited   bigint NOT NULL,
    tokens         bigint NOT NULL,
    cost_usd       double precision NOT NULL,
    vectors        bigint NOT NULL,
    database_bytes bigint NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN capacity_days.jobs IS 'Attempts at documents that succeeded.';
COMMENT ON COLUMN capacity_days.busy_share IS 'Time that runs worked, of what all allowed runs could.';
