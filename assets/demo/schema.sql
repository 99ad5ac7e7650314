-- The state that the demo servers share. One file, several processes.
CREATE TABLE users (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  email      TEXT NOT NULL UNIQUE COLLATE NOCASE,
  name       TEXT NOT NULL,
  role       TEXT NOT NULL,
  tags       TEXT NOT NULL,
  address    TEXT,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE records (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  table_name TEXT NOT NULL,
  record     TEXT NOT NULL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE emails (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  recipient TEXT NOT NULL COLLATE NOCASE,
  subject   TEXT NOT NULL,
  body      TEXT NOT NULL,
  priority  TEXT NOT NULL,
  sent_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX emails_recipient ON emails (recipient, id);
CREATE TABLE events (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  event      TEXT NOT NULL,
  user_id    INTEGER NOT NULL,
  properties TEXT NOT NULL,
  at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX events_user ON events (user_id, id);
CREATE TABLE preferences (
  user_id       INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  theme         TEXT NOT NULL,
  language      TEXT NOT NULL,
  notifications TEXT NOT NULL
);
CREATE TABLE charges (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  cents      INTEGER NOT NULL,
  currency   TEXT NOT NULL,
  reference  TEXT,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

-- Somebody is there from the start, so that every tool has something to show.
INSERT INTO users (id, email, name, role, tags, address) VALUES
  (1001, 'ada@example.com',       'Ada Lovelace',      'admin',     '["founder","analytics"]', '{"street":"12 St James''s Square","city":"London","zip":"SW1Y 4JH"}'),
  (1002, 'grace@example.com',     'Grace Hopper',      'developer', '["compilers"]',           '{"street":"3 Navy Yard","city":"Washington","zip":"20374"}'),
  (1003, 'alan@example.com',      'Alan Turing',       'developer', '["research"]',            NULL),
  (1004, 'katherine@example.com', 'Katherine Johnson', 'viewer',    '["orbits","research"]',   '{"street":"1 Langley Blvd","city":"Hampton","zip":"23681"}'),
  (1005, 'edsger@example.com',    'Edsger Dijkstra',   'viewer',    '[]',                      NULL),
  (1006, 'barbara@example.com',   'Barbara Liskov',    'developer', '["types"]',               '{"street":"32 Vassar St","city":"Cambridge","zip":"02139"}');
INSERT INTO emails (recipient, subject, body, priority) VALUES
  ('ada@example.com', 'Welcome', 'Your account is ready.', 'normal');
INSERT INTO events (event, user_id, properties) VALUES
  ('signup', 1001, '{"plan":"team"}'), ('login', 1001, '{}'), ('signup', 1002, '{"plan":"free"}');
