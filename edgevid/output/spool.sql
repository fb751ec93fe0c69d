-- Events of a camera that wait for sinks, and of each sink the number of the first event that it has not acknowledged.
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, line BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sinks (name TEXT PRIMARY KEY, acknowledged INTEGER NOT NULL);
CREATE VIEW IF NOT EXISTS state AS
SELECT coalesce((SELECT min(number) FROM events), end) AS first, end, coalesce((SELECT min(acknowledged) FROM sinks), 0) AS needed,
    (SELECT page_size * (page_count - freelist_count) FROM pragma_page_size, pragma_page_count, pragma_freelist_count) AS bytes
FROM (SELECT max(coalesce((SELECT max(number) + 1 FROM events), 0), coalesce((SELECT max(acknowledged) FROM sinks), 0)) AS end);
