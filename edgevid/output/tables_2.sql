ALTER TABLE events ADD COLUMN clip TEXT;
ALTER TABLE events ADD COLUMN snapshot TEXT;
CREATE INDEX events_by_utc ON events (utc);
