CREATE TABLE IF NOT EXISTS runs (
    run_id  TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    digest  TEXT NOT NULL,
    title   TEXT NOT NULL,
    created TEXT NOT NULL,
    command TEXT NOT NULL,
    status  TEXT NOT NULL CHECK (status IN ('running', 'interrupted', 'failed', 'complete')),
    seconds REAL NOT NULL DEFAULT 0,
    task    TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS units (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    unit   TEXT NOT NULL,
    arrays TEXT,
    PRIMARY KEY (run_id, unit)
);
CREATE TABLE IF NOT EXISTS records (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    unit   TEXT NOT NULL,
    place  INTEGER NOT NULL,
    part   TEXT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (run_id, place, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS warnings (
    run_id   TEXT NOT NULL REFERENCES runs (run_id),
    source   TEXT NOT NULL,
    code     TEXT NOT NULL,
    message  TEXT NOT NULL,
    evidence TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS metrics (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
);
