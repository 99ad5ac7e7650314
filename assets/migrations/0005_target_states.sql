-- What earlier processes learned about a server: breakers, latency estimate, rate windows. Used for some minutes.
CREATE TABLE target_states (
    target    BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of what starts or addresses the server, and its name
    state     TEXT    NOT NULL, -- JSON
    stored_ms INTEGER NOT NULL -- milliseconds since the Unix epoch
) STRICT;
