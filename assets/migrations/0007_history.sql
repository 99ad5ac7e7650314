-- The history of calls: typed columns for filters, bodies that equal calls share, a search index, and sums by hour.
ALTER TABLE calls ADD COLUMN tool TEXT NOT NULL DEFAULT '';  -- the name that the server gave it, a URI or a method
ALTER TABLE calls ADD COLUMN run TEXT;                       -- of runs, if a run made the call
ALTER TABLE calls ADD COLUMN step TEXT;
ALTER TABLE calls ADD COLUMN trace BLOB;                     -- 16 bytes
ALTER TABLE calls ADD COLUMN arguments_body INTEGER;         -- of bodies; the arguments are in `spec` if it is NULL
ALTER TABLE calls ADD COLUMN result_body INTEGER;            -- of bodies; the result is in `result` if it is NULL
UPDATE calls SET tool = coalesce(json_extract(spec, '$.operation.tool.name'), name) WHERE json_valid(spec);

CREATE INDEX calls_by_run ON calls (run) WHERE run IS NOT NULL;

CREATE TABLE bodies (
    id    INTEGER NOT NULL PRIMARY KEY,
    hash  BLOB    NOT NULL UNIQUE,  -- SHA-256 of the body
    codec INTEGER NOT NULL,
    uses  INTEGER NOT NULL,         -- calls that refer to it
    body  BLOB    NOT NULL
) STRICT;

-- Substrings of three characters and more, without regard to case. The rowid is that of the call.
CREATE VIRTUAL TABLE calls_text USING fts5(
    name, arguments, result, error, content = '', contentless_delete = 1, tokenize = 'trigram'
);
INSERT INTO calls_text (rowid, name, arguments, result, error)
SELECT call, server || ' ' || tool || ' ' || name, substr(spec, 1, 1000), substr(CAST(result AS TEXT), 1, 1000),
       outcome || ' ' || coalesce(error, '')
FROM calls;

CREATE TRIGGER bodies_and_text_go_with_their_call AFTER DELETE ON calls BEGIN
    DELETE FROM calls_text WHERE rowid = OLD.call;
    UPDATE bodies SET uses = uses - 1 WHERE id IN (OLD.arguments_body, OLD.result_body);
    DELETE FROM bodies WHERE id IN (OLD.arguments_body, OLD.result_body) AND uses <= 0;
END;

-- Calls by hour, target, outcome and duration, which outlive the calls.
CREATE TABLE call_sums (
    hour    INTEGER NOT NULL,  -- hours since the Unix epoch
    server  TEXT    NOT NULL,
    tool    TEXT    NOT NULL,
    outcome TEXT    NOT NULL,
    bucket  INTEGER NOT NULL,  -- of the duration, see domain/history.rs
    calls   INTEGER NOT NULL,
    took_us INTEGER NOT NULL,  -- sum
    bytes   INTEGER NOT NULL,  -- sum of what was received
    PRIMARY KEY (hour, server, tool, outcome, bucket)
) WITHOUT ROWID, STRICT;

-- Versions of what servers define, in the order in which they were listed.
CREATE TABLE definitions (
    id         INTEGER NOT NULL PRIMARY KEY,
    server     TEXT    NOT NULL,
    launch     BLOB    NOT NULL,  -- SHA-256 of what starts or addresses the server
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL,  -- SHA-256 over all members
    codec      INTEGER NOT NULL,
    definition BLOB    NOT NULL,  -- canonical JSON
    first_ms   INTEGER NOT NULL,  -- milliseconds since the Unix epoch
    last_ms    INTEGER NOT NULL,
    accepted   INTEGER NOT NULL   -- 1: by the user, or listed at the first contact with the server
) STRICT;
CREATE INDEX definitions_by_name ON definitions (server, kind, name, id);

-- When a server listed its definitions last.
CREATE TABLE listings (
    server  TEXT    NOT NULL,
    launch  BLOB    NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (server, launch)
) STRICT;
