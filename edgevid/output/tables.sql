CREATE TABLE IF NOT EXISTS runs (run TEXT PRIMARY KEY, camera TEXT, source TEXT, start_utc TEXT, header TEXT);
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, utc TEXT NOT NULL, time_s REAL, camera TEXT, run TEXT,
    frame INTEGER, place TEXT, track INTEGER, class_name TEXT, confidence REAL, direction TEXT,
    seconds REAL, count INTEGER, speed_mps REAL, speed_sigma_mps REAL, speed_heading_deg REAL,
    speed_reason TEXT, task TEXT, label TEXT, label_confidence REAL, reason TEXT,
    box TEXT, first_box TEXT, clip TEXT, snapshot TEXT);
CREATE INDEX IF NOT EXISTS events_by_camera ON events (camera, utc);
CREATE INDEX IF NOT EXISTS events_by_utc ON events (utc);
CREATE INDEX IF NOT EXISTS events_by_kind ON events (kind, utc);
CREATE INDEX IF NOT EXISTS events_by_track ON events (run, track);
CREATE VIEW IF NOT EXISTS tracks AS
    SELECT run, camera, track, class_name, confidence, count AS frames, utc AS last_utc, time_s AS last_s,
        time_s - seconds AS first_s, speed_mps, speed_sigma_mps, speed_heading_deg, speed_reason,
        first_box, box AS last_box
    FROM events WHERE kind = 'track-ended';
CREATE TABLE IF NOT EXISTS objects (
    run TEXT, camera TEXT, utc TEXT, frame INTEGER, time_s REAL, track INTEGER, class_name TEXT,
    confidence REAL, detected INTEGER, x_min REAL, y_min REAL, x_max REAL, y_max REAL, speed_mps REAL,
    speed_sigma_mps REAL, speed_heading_deg REAL, speed_kind TEXT, speed_age_s REAL, speed_reason TEXT,
    verdicts TEXT);
CREATE INDEX IF NOT EXISTS objects_by_camera ON objects (camera, utc);
CREATE INDEX IF NOT EXISTS objects_by_track ON objects (run, track);
PRAGMA application_id = 0x65647669;  -- "edvi"
PRAGMA user_version = 2;
