-- The last known lists of servers, for the time in which a server does not answer.
CREATE TABLE catalogs (
    launch       BLOB    NOT NULL, -- SHA-256 of what starts or addresses the server
    capabilities BLOB    NOT NULL, -- SHA-256 of the capabilities that the client declares
    read_ms      INTEGER NOT NULL, -- milliseconds since the Unix epoch
    digest       BLOB    NOT NULL, -- SHA-256 of the catalog
    catalog      BLOB    NOT NULL, -- JSON
    PRIMARY KEY (launch, capabilities)
) STRICT;

CREATE INDEX catalogs_by_time ON catalogs (read_ms);
