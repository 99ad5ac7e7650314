-- Runs of workflows, written step by step so that an interrupted one can go on.
CREATE TABLE runs (
    run        TEXT    NOT NULL PRIMARY KEY, -- 32 hexadecimal digits, ordered by time
    workflow   TEXT    NOT NULL,
    started_ms INTEGER NOT NULL,             -- milliseconds since the Unix epoch
    ended_ms   INTEGER,
    outcome    TEXT
) WITHOUT ROWID, STRICT;

CREATE INDEX runs_by_workflow ON runs (workflow, run);

CREATE TABLE run_entries (
    run   TEXT    NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
    seq   INTEGER NOT NULL,                  -- from 1
    entry TEXT    NOT NULL,                  -- JSON
    PRIMARY KEY (run, seq)
) WITHOUT ROWID, STRICT;

-- Calls that ended, so that workflows can be made of them.
CREATE TABLE calls (
    call    INTEGER NOT NULL PRIMARY KEY,    -- ordered by time
    unix_ms INTEGER NOT NULL,
    origin  TEXT    NOT NULL,
    server  TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    spec    TEXT    NOT NULL,                -- JSON
    outcome TEXT    NOT NULL,
    result  BLOB,                            -- JSON, absent when there is none or it is long
    took_us INTEGER NOT NULL
) STRICT;
