CREATE TABLE IF NOT EXISTS runs (
    run_id  TEXT PRIMARY KEY,
    digest  TEXT NOT NULL,
    created TEXT NOT NULL,
    command TEXT NOT NULL,
    status  TEXT NOT NULL CHECK (status IN ('running', 'interrupted', 'failed', 'complete')),
    seconds REAL NOT NULL DEFAULT 0,
    spec    TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS units (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    unit   TEXT NOT NULL,
    arrays TEXT,
    PRIMARY KEY (run_id, unit)
);
CREATE TABLE IF NOT EXISTS records (
    run_id      TEXT NOT NULL REFERENCES runs (run_id),
    sample_id   INTEGER NOT NULL,
    label       INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    method      TEXT NOT NULL,
    epsilon     REAL,
    outcome     TEXT NOT NULL,
    termination TEXT NOT NULL,
    margin      REAL,
    distance    REAL,
    prediction  INTEGER,
    forwards    INTEGER NOT NULL,
    backwards   INTEGER NOT NULL,
    seconds     REAL NOT NULL,
    seed        INTEGER NOT NULL,
    message     TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_record
    ON records (run_id, kind, method, ifnull(epsilon, -1), sample_id);
CREATE TABLE IF NOT EXISTS metrics (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
);
