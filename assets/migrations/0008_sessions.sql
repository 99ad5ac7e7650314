-- Sessions: runs of the program whose calls are in the history.
CREATE TABLE sessions (
    session    INTEGER NOT NULL PRIMARY KEY, -- `instance` of its calls
    kind       TEXT    NOT NULL,
    started_ms INTEGER NOT NULL,             -- milliseconds since the Unix epoch
    last_ms    INTEGER NOT NULL,             -- when its last call began
    ended_ms   INTEGER,                      -- NULL while it runs, and if it was killed
    calls      INTEGER NOT NULL,             -- with those that were deleted
    failures   INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_time ON sessions (started_ms);
CREATE INDEX calls_by_session ON calls (instance);

INSERT INTO sessions (session, kind, started_ms, last_ms, calls, failures)
SELECT instance, 'unknown', min(unix_ms), max(unix_ms), count(*),
       sum(outcome NOT IN ('ok', 'cancelled', 'input required', 'task'))
FROM calls WHERE instance <> 0 GROUP BY instance;
