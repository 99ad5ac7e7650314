-- Requests of connections themselves: the handshake, and lists. They are bounded apart from the calls.
ALTER TABLE calls ADD COLUMN kind INTEGER NOT NULL DEFAULT 0; -- 0: a call; 1: lifecycle
CREATE INDEX lifecycle_calls ON calls (call) WHERE kind = 1;
