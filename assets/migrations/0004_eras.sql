-- The protocol era of programs that did not answer the probe for it, so that later runs do not wait for it.
CREATE TABLE eras (
    launch    BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of what starts or addresses the server
    era       TEXT    NOT NULL, -- legacy or modern
    stored_ms INTEGER NOT NULL -- milliseconds since the Unix epoch
) STRICT;
