-- The texts of workflows by their hash, shared by the runs of one plan. What a reader must understand has a number: `format`
-- for a run as a whole, `codec` for a body.
CREATE TABLE plans (
    hash    TEXT    NOT NULL PRIMARY KEY, -- SHA-256 of the texts, hexadecimal
    codec   INTEGER NOT NULL,
    sources BLOB    NOT NULL              -- JSON
) WITHOUT ROWID, STRICT;

-- 1: the first entry has the texts; 2: they are in `plans`.
ALTER TABLE runs ADD COLUMN format INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN plan TEXT;
CREATE INDEX runs_by_plan ON runs (plan) WHERE plan IS NOT NULL;

CREATE TRIGGER plans_go_with_their_last_run AFTER DELETE ON runs
WHEN OLD.plan IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs WHERE plan = OLD.plan) BEGIN
    DELETE FROM plans WHERE hash = OLD.plan;
END;

-- 0: as it is.
ALTER TABLE run_entries ADD COLUMN codec INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN codec INTEGER NOT NULL DEFAULT 0;

-- The summary of a call; the rest of it is in the columns before.
ALTER TABLE calls ADD COLUMN instance INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN error TEXT;
ALTER TABLE calls ADD COLUMN attempts INTEGER NOT NULL DEFAULT 1;
ALTER TABLE calls ADD COLUMN answered_by TEXT;
ALTER TABLE calls ADD COLUMN cached_ms INTEGER;
ALTER TABLE calls ADD COLUMN sent_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN received_bytes INTEGER NOT NULL DEFAULT 0;
