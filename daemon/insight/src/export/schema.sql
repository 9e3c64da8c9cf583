-- The tables of earlier tools: the same names, columns, types and indexes, so that queries go on working.
-- Times are UTC, as text with microseconds and without a zone.

CREATE TABLE sessions (
    id VARCHAR NOT NULL PRIMARY KEY,
    source VARCHAR NOT NULL,
    model_provider VARCHAR,
    model VARCHAR,
    started_at DATETIME NOT NULL,
    ended_at DATETIME,
    cwd VARCHAR,
    git_repo_url VARCHAR,
    git_commit VARCHAR,
    git_branch VARCHAR,
    cli_version VARCHAR,
    originator VARCHAR,
    compaction_count INTEGER,
    turn_count INTEGER,
    tool_call_count INTEGER,
    facets JSON,
    signals_computed BOOLEAN,
    embeddings_computed BOOLEAN,
    spine_path VARCHAR
);
CREATE INDEX ix_sessions_started_at ON sessions (started_at);
CREATE INDEX ix_sessions_source ON sessions (source);
CREATE INDEX ix_sessions_signals_computed ON sessions (signals_computed);

CREATE TABLE turns (
    id VARCHAR NOT NULL PRIMARY KEY,
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    seq_start INTEGER NOT NULL,
    seq_end INTEGER,
    approval_policy VARCHAR,
    sandbox_policy VARCHAR,
    model VARCHAR,
    user_message TEXT,
    started_at DATETIME,
    ended_at DATETIME
);
CREATE INDEX ix_turns_session_id ON turns (session_id);

CREATE TABLE tool_calls (
    call_id VARCHAR NOT NULL PRIMARY KEY,
    turn_id VARCHAR NOT NULL REFERENCES turns (id),
    tool_name VARCHAR NOT NULL,
    arguments TEXT,
    exit_code INTEGER,
    duration_ms INTEGER,
    stdout TEXT,
    stderr TEXT,
    approval_requested BOOLEAN,
    approved BOOLEAN,
    approval_decision VARCHAR
);
CREATE INDEX ix_tool_calls_turn_id ON tool_calls (turn_id);
CREATE INDEX ix_tool_calls_tool_name ON tool_calls (tool_name);

CREATE TABLE schema_proposals (
    id VARCHAR NOT NULL PRIMARY KEY,
    name VARCHAR NOT NULL,
    description TEXT,
    inclusion_criteria TEXT,
    severity_rule TEXT,
    recommended_action TEXT,
    signal_type VARCHAR NOT NULL,
    sample_count INTEGER,
    created_at DATETIME,
    status VARCHAR,
    reviewed_at DATETIME
);
CREATE INDEX ix_schema_proposals_status ON schema_proposals (status);

CREATE TABLE clusters (
    id VARCHAR NOT NULL PRIMARY KEY,
    name VARCHAR,
    description TEXT,
    signal_type VARCHAR NOT NULL,
    centroid_embedding_id VARCHAR,
    member_count INTEGER,
    avg_severity FLOAT,
    created_at DATETIME,
    updated_at DATETIME,
    promoted_to_schema BOOLEAN,
    schema_proposal_id VARCHAR REFERENCES schema_proposals (id)
);
CREATE INDEX ix_clusters_signal_type ON clusters (signal_type);
CREATE INDEX ix_clusters_promoted ON clusters (promoted_to_schema);

CREATE TABLE signals (
    id VARCHAR NOT NULL PRIMARY KEY,
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    turn_id VARCHAR,
    signal_type VARCHAR NOT NULL,
    category VARCHAR NOT NULL,
    severity FLOAT NOT NULL,
    evidence JSON,
    embedding_id VARCHAR,
    cluster_id VARCHAR REFERENCES clusters (id),
    detected_at DATETIME,
    detector VARCHAR
);
CREATE INDEX ix_signals_session_id ON signals (session_id);
CREATE INDEX ix_signals_signal_type ON signals (signal_type);
CREATE INDEX ix_signals_category ON signals (category);
CREATE INDEX ix_signals_cluster_id ON signals (cluster_id);
CREATE INDEX ix_signals_embedding_id ON signals (embedding_id);

CREATE TABLE eval_runs (
    id VARCHAR NOT NULL PRIMARY KEY,
    dataset_id VARCHAR NOT NULL,
    agent VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    codex_version VARCHAR,
    task_count INTEGER,
    mean_reward FLOAT,
    success_rate FLOAT,
    results_json JSON,
    started_at DATETIME,
    completed_at DATETIME,
    job_dir VARCHAR
);
CREATE INDEX ix_eval_runs_dataset_id ON eval_runs (dataset_id);
CREATE INDEX ix_eval_runs_started_at ON eval_runs (started_at);

-- What Spindle knows beyond that: a table of details beside each of the above, and what they have no room for.

CREATE TABLE spindle_schema (
    version INTEGER NOT NULL,
    redacted BOOLEAN NOT NULL
);

CREATE TABLE session_details (
    session_id VARCHAR NOT NULL PRIMARY KEY REFERENCES sessions (id),
    format VARCHAR NOT NULL,
    profile VARCHAR NOT NULL,
    settled BOOLEAN NOT NULL,
    closed BOOLEAN NOT NULL,
    gone BOOLEAN NOT NULL,
    depth INTEGER,
    repo_root VARCHAR,
    approval_policy VARCHAR,
    sandbox_policy VARCHAR,
    records INTEGER NOT NULL,
    unknown_records INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    epochs INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    codex_home VARCHAR NOT NULL,
    bytes INTEGER NOT NULL
);

CREATE TABLE segments (
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    file INTEGER NOT NULL,
    path VARCHAR NOT NULL,
    bytes_read INTEGER NOT NULL,
    PRIMARY KEY (session_id, file)
);

CREATE TABLE findings (
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    number INTEGER NOT NULL,
    path VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    is_error BOOLEAN NOT NULL,
    code VARCHAR NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (session_id, number)
);

-- A thread and one that it started or was forked into; not all of them need be in this file.
CREATE TABLE lineage (
    parent_session_id VARCHAR NOT NULL,
    child_session_id VARCHAR NOT NULL,
    PRIMARY KEY (parent_session_id, child_session_id)
);
CREATE INDEX ix_lineage_child_session_id ON lineage (child_session_id);

CREATE TABLE epochs (
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    epoch INTEGER NOT NULL,
    seq_start INTEGER NOT NULL,
    seq_end INTEGER,
    turn_count INTEGER NOT NULL,
    PRIMARY KEY (session_id, epoch)
);

CREATE TABLE turn_details (
    turn_id VARCHAR NOT NULL PRIMARY KEY REFERENCES turns (id),
    ordinal INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    codex_turn_id VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    reason VARCHAR,
    requests INTEGER NOT NULL,
    tool_calls INTEGER NOT NULL,
    context INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    file INTEGER NOT NULL,
    line INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL
);

CREATE TABLE tool_call_details (
    call_id VARCHAR NOT NULL PRIMARY KEY REFERENCES tool_calls (call_id),
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    ordinal INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    codex_call_id VARCHAR NOT NULL,
    codex_turn_id VARCHAR NOT NULL,
    cwd VARCHAR,
    source VARCHAR,
    outcome VARCHAR NOT NULL,
    message TEXT,
    seq_start INTEGER NOT NULL,
    seq_end INTEGER,
    started_at DATETIME,
    ended_at DATETIME,
    output_cut BOOLEAN NOT NULL,
    file INTEGER NOT NULL,
    line INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL
);
CREATE INDEX ix_tool_call_details_session_id ON tool_call_details (session_id);
CREATE INDEX ix_tool_call_details_codex_call_id ON tool_call_details (codex_call_id);

CREATE TABLE tool_call_changes (
    call_id VARCHAR NOT NULL REFERENCES tool_calls (call_id),
    number INTEGER NOT NULL,
    path VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    PRIMARY KEY (call_id, number)
);

CREATE TABLE approvals (
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    ordinal INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    codex_call_id VARCHAR NOT NULL,
    codex_turn_id VARCHAR NOT NULL,
    reason TEXT,
    decision VARCHAR,
    approved BOOLEAN,
    submission_id VARCHAR,
    latency_ms INTEGER,
    requested_seq INTEGER,
    requested_at DATETIME,
    decided_seq INTEGER,
    decided_at DATETIME,
    PRIMARY KEY (session_id, ordinal)
);

CREATE TABLE compactions (
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    ordinal INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    happened_at DATETIME,
    codex_turn_id VARCHAR NOT NULL,
    kind VARCHAR,
    PRIMARY KEY (session_id, ordinal)
);

CREATE TABLE artifacts (
    session_id VARCHAR NOT NULL REFERENCES sessions (id),
    ordinal INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    seq INTEGER NOT NULL,
    path VARCHAR,
    sha256 VARCHAR,
    base VARCHAR,
    PRIMARY KEY (session_id, ordinal)
);

CREATE TABLE signal_details (
    signal_id VARCHAR NOT NULL PRIMARY KEY REFERENCES signals (id),
    rule_set VARCHAR NOT NULL,
    confidence FLOAT NOT NULL,
    settled BOOLEAN NOT NULL,
    epoch INTEGER NOT NULL,
    codex_call_id VARCHAR,
    seq_start INTEGER,
    seq_end INTEGER,
    description TEXT NOT NULL
);

CREATE TABLE signal_places (
    signal_id VARCHAR NOT NULL REFERENCES signals (id),
    number INTEGER NOT NULL,
    file INTEGER NOT NULL,
    line INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (signal_id, number)
);
