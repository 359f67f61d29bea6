-- What bulk ingest keeps beside the reference's tables: who is writing where, what became of each row.
-- Only the functions write here.

CREATE TABLE intake.batches (
    batch_id         text        CONSTRAINT batches_pkey PRIMARY KEY,
    source           text        NOT NULL,
    on_duplicate     text        NOT NULL,
    lane_count       integer,
    metadata         jsonb       NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by       text        NOT NULL,
    abandoned_at     timestamptz,
    CONSTRAINT batches_on_duplicate_check CHECK (on_duplicate IN ('mark', 'accept_changed')),
    CONSTRAINT batches_lane_count_check CHECK (lane_count BETWEEN 1 AND 64),
    CONSTRAINT batches_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);

CREATE INDEX idx_batches_created_at ON intake.batches (created_at, batch_id);
CREATE INDEX idx_batches_source ON intake.batches (source, created_at, batch_id);

COMMENT ON TABLE intake.batches IS 'A batch: the rows that come in under one batch_id from one source';
COMMENT ON COLUMN intake.batches.batch_id IS 'Primary key: the loader''s name for the batch';
COMMENT ON COLUMN intake.batches.source IS 'Data source; every row of the batch has it';
COMMENT ON COLUMN intake.batches.on_duplicate IS
    'What becomes of a row whose email was accepted within the duplicate window (mark, accept_changed)';
COMMENT ON COLUMN intake.batches.lane_count IS
    'How many lanes its bulk loader has; NULL while only single calls wrote to it, on lane -1';
COMMENT ON COLUMN intake.batches.metadata IS 'Notes of the first open';
COMMENT ON COLUMN intake.batches.created_at IS 'Creation timestamp';
COMMENT ON COLUMN intake.batches.created_by IS 'The actor who began it';
COMMENT ON COLUMN intake.batches.abandoned_at IS 'When it was abandoned: it takes no more rows';

CREATE TABLE intake.batch_lanes (
    batch_id    text        NOT NULL,
    lane        integer     NOT NULL,
    state       text        NOT NULL DEFAULT 'open',
    writer      bigint      NOT NULL DEFAULT 1,
    next_offset bigint      NOT NULL DEFAULT 0,
    accepted    bigint      NOT NULL DEFAULT 0,
    duplicate   bigint      NOT NULL DEFAULT 0,
    rejected    bigint      NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT batch_lanes_pkey PRIMARY KEY (batch_id, lane),
    CONSTRAINT batch_lanes_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES intake.batches (batch_id),
    CONSTRAINT batch_lanes_lane_check CHECK (lane BETWEEN -1 AND 63),
    CONSTRAINT batch_lanes_state_check CHECK (state IN ('open', 'finished', 'abandoned')),
    CONSTRAINT batch_lanes_finished_at_check CHECK ((state = 'finished') = (finished_at IS NOT NULL)),
    -- Law 1, conservation: every row received has exactly one fate.
    CONSTRAINT batch_lanes_conservation_check CHECK (next_offset = accepted + duplicate + rejected)
);

COMMENT ON TABLE intake.batch_lanes IS 'A lane: an ordered sub-stream of a batch with offsets of its own';
COMMENT ON COLUMN intake.batch_lanes.batch_id IS 'The batch';
COMMENT ON COLUMN intake.batch_lanes.lane IS 'Its number; -1 holds the rows of single calls';
COMMENT ON COLUMN intake.batch_lanes.state IS 'State (open, finished, abandoned)';
COMMENT ON COLUMN intake.batch_lanes.writer IS
    'Fencing token: grows with every open; a chunk that carries an older one is refused';
COMMENT ON COLUMN intake.batch_lanes.next_offset IS 'The offset of the next row: how many rows the lane holds';
COMMENT ON COLUMN intake.batch_lanes.accepted IS 'Rows stored as pending';
COMMENT ON COLUMN intake.batch_lanes.duplicate IS 'Rows stored as duplicate';
COMMENT ON COLUMN intake.batch_lanes.rejected IS 'Rows kept in intake.rejected_rows';
COMMENT ON COLUMN intake.batch_lanes.created_at IS 'When it was opened first';
COMMENT ON COLUMN intake.batch_lanes.finished_at IS 'When its client said finish';

CREATE TABLE intake.batch_chunks (
    batch_id      text        NOT NULL,
    lane          integer     NOT NULL,
    first_offset  bigint      NOT NULL,
    row_count     integer     NOT NULL,
    fates         bytea       NOT NULL,
    first_load_id bigint,
    last_load_id  bigint,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT batch_chunks_pkey PRIMARY KEY (batch_id, lane, first_offset),
    CONSTRAINT batch_chunks_lane_fkey
        FOREIGN KEY (batch_id, lane) REFERENCES intake.batch_lanes (batch_id, lane),
    CONSTRAINT batch_chunks_fates_check CHECK (octet_length(fates) = row_count AND row_count > 0)
);

COMMENT ON TABLE intake.batch_chunks IS 'The fate of every row, a byte a row, by the chunks that were committed';
COMMENT ON COLUMN intake.batch_chunks.batch_id IS 'The batch';
COMMENT ON COLUMN intake.batch_chunks.lane IS 'The lane';
COMMENT ON COLUMN intake.batch_chunks.first_offset IS 'The offset of the chunk''s first row';
COMMENT ON COLUMN intake.batch_chunks.row_count IS 'How many rows the chunk has';
COMMENT ON COLUMN intake.batch_chunks.fates IS
    'The first outcome of each row, in order: a accepted, d duplicate, r rejected';
COMMENT ON COLUMN intake.batch_chunks.first_load_id IS
    'Lowest load_id of the chunk; other lanes'' loads may lie between it and the last';
COMMENT ON COLUMN intake.batch_chunks.last_load_id IS 'Highest load_id of the chunk';
COMMENT ON COLUMN intake.batch_chunks.created_at IS 'When it was stored';

CREATE TABLE intake.email_claims (
    email        text        CONSTRAINT email_claims_pkey PRIMARY KEY,
    load_id      bigint      NOT NULL,
    accepted_at  timestamptz NOT NULL,
    content_hash bigint      NOT NULL
);

COMMENT ON TABLE intake.email_claims IS
    'Who won an email: of any concurrent arrivals of one email in the duplicate window, one is accepted';
COMMENT ON COLUMN intake.email_claims.email IS 'Primary key: the normalized email';
COMMENT ON COLUMN intake.email_claims.load_id IS 'The load that was accepted last';
COMMENT ON COLUMN intake.email_claims.accepted_at IS 'When it was: the duplicate window counts from here';
COMMENT ON COLUMN intake.email_claims.content_hash IS 'jsonb_hash_extended of its raw_data, for accept_changed';

CREATE TABLE intake.rejected_rows (
    rejected_id   bigserial   CONSTRAINT rejected_rows_pkey PRIMARY KEY,
    batch_id      text        NOT NULL,
    lane          integer     NOT NULL,
    row_offset    bigint      NOT NULL,
    reason        text        NOT NULL,
    pointer       text        NOT NULL,
    detail        text        NOT NULL,
    original      bytea       NOT NULL,
    original_size bigint      NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT rejected_rows_row_key UNIQUE (batch_id, lane, row_offset),
    CONSTRAINT rejected_rows_lane_fkey
        FOREIGN KEY (batch_id, lane) REFERENCES intake.batch_lanes (batch_id, lane),
    CONSTRAINT rejected_rows_reason_check CHECK (reason IN (
        'EMPTY_ROW', 'NOT_UTF8', 'NOT_JSON', 'NOT_AN_OBJECT', 'MISSING_EMAIL', 'INVALID_EMAIL',
        'ROW_TOO_LARGE', 'NESTED_TOO_DEEPLY', 'UNSTORABLE_TEXT', 'NUMBER_OUT_OF_RANGE', 'TEXT_TOO_LONG',
        'UNREADABLE'))
);

CREATE INDEX idx_rejected_rows_batch_id ON intake.rejected_rows (batch_id, rejected_id);
CREATE INDEX idx_rejected_rows_reason ON intake.rejected_rows (reason, rejected_id);

COMMENT ON TABLE intake.rejected_rows IS 'Rows that were not stored, and why';
COMMENT ON COLUMN intake.rejected_rows.rejected_id IS 'Primary key';
COMMENT ON COLUMN intake.rejected_rows.batch_id IS 'The batch';
COMMENT ON COLUMN intake.rejected_rows.lane IS 'The lane';
COMMENT ON COLUMN intake.rejected_rows.row_offset IS 'The row''s offset in the lane';
COMMENT ON COLUMN intake.rejected_rows.reason IS 'What was wrong: a RejectionReason of the API';
COMMENT ON COLUMN intake.rejected_rows.pointer IS 'Where: a JSON pointer (RFC 6901); empty for the row as a whole';
COMMENT ON COLUMN intake.rejected_rows.detail IS 'What was wrong and what would be right, for a person';
COMMENT ON COLUMN intake.rejected_rows.original IS 'The row as it was sent; the head of an oversize one';
COMMENT ON COLUMN intake.rejected_rows.original_size IS 'How many bytes the row had';
COMMENT ON COLUMN intake.rejected_rows.created_at IS 'When it was rejected';

CREATE TABLE intake.request_answers (
    actor       text        NOT NULL,
    method      text        NOT NULL,
    request_id  uuid        NOT NULL,
    fingerprint bytea       NOT NULL,
    answer      bytea,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT request_answers_pkey PRIMARY KEY (actor, method, request_id)
);

CREATE INDEX idx_request_answers_created_at ON intake.request_answers (created_at);

COMMENT ON TABLE intake.request_answers IS
    'Answers kept for 24 hours, so that a repeated request returns the first one';
COMMENT ON COLUMN intake.request_answers.actor IS 'Who asked';
COMMENT ON COLUMN intake.request_answers.method IS 'The RPC';
COMMENT ON COLUMN intake.request_answers.request_id IS 'The caller''s id of the request';
COMMENT ON COLUMN intake.request_answers.fingerprint IS 'SHA-256 of the request: the same id with another body is refused';
COMMENT ON COLUMN intake.request_answers.answer IS 'The response message; NULL only inside the first call''s transaction';
COMMENT ON COLUMN intake.request_answers.created_at IS 'When it was first asked';
