CREATE TABLE intake.raw_loads (
    load_id     bigserial   CONSTRAINT raw_loads_pkey PRIMARY KEY,
    batch_id    text        NOT NULL,
    source      text        NOT NULL,
    raw_data    jsonb       NOT NULL,
    status      text        NOT NULL DEFAULT 'pending',
    created_at  timestamptz NOT NULL DEFAULT now(),
    promoted_at timestamptz,
    metadata    jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT raw_loads_status_check CHECK (status IN ('pending', 'promoted', 'failed', 'duplicate')),
    CONSTRAINT raw_loads_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);

CREATE INDEX idx_raw_loads_batch_id ON intake.raw_loads (batch_id);
CREATE INDEX idx_raw_loads_source ON intake.raw_loads (source);
CREATE INDEX idx_raw_loads_status ON intake.raw_loads (status);
CREATE INDEX idx_raw_loads_created_at ON intake.raw_loads (created_at DESC);
CREATE INDEX idx_raw_loads_raw_data_email ON intake.raw_loads ((raw_data ->> 'email'));
-- Finds a load by its address when it was sent in another spelling; most are not, so it stays small.
CREATE INDEX idx_raw_loads_normalized_email ON intake.raw_loads ((metadata ->> 'normalized_email'))
    WHERE metadata ? 'normalized_email';

ALTER TABLE intake.raw_loads ENABLE ROW LEVEL SECURITY;
-- No policy lets anyone insert, update or delete: only the functions' owner passes.
CREATE POLICY raw_loads_select ON intake.raw_loads FOR SELECT USING (true);

COMMENT ON TABLE intake.raw_loads IS 'Staging area for raw ingested data';
COMMENT ON COLUMN intake.raw_loads.load_id IS 'Primary key';
COMMENT ON COLUMN intake.raw_loads.batch_id IS 'Batch identifier';
COMMENT ON COLUMN intake.raw_loads.source IS 'Data source (apollo, apify, manual)';
COMMENT ON COLUMN intake.raw_loads.raw_data IS 'Raw JSON data payload, as it was sent';
COMMENT ON COLUMN intake.raw_loads.status IS 'Status (pending, promoted, failed, duplicate)';
COMMENT ON COLUMN intake.raw_loads.created_at IS 'Ingestion timestamp';
COMMENT ON COLUMN intake.raw_loads.promoted_at IS 'Promotion timestamp';
COMMENT ON COLUMN intake.raw_loads.metadata IS
    'Additional metadata: lane and offset of the row; normalized_email where it differs from what was sent; failure of a failed load';

CREATE TABLE intake.audit_log (
    log_id      bigserial   CONSTRAINT audit_log_pkey PRIMARY KEY,
    action      text        NOT NULL,
    load_id     bigint,
    contact_id  bigint,
    details     jsonb       NOT NULL DEFAULT '{}',
    "timestamp" timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_audit_log_load_id ON intake.audit_log (load_id, log_id) WHERE load_id IS NOT NULL;
CREATE INDEX idx_audit_log_contact_id ON intake.audit_log (contact_id, log_id) WHERE contact_id IS NOT NULL;
-- Ingestion writes most rows, all with one action: a list of those reads the primary key in order.
CREATE INDEX idx_audit_log_action ON intake.audit_log (action, log_id) WHERE action <> 'contact_ingested';
-- The log only grows at its end, so that a block range index finds a time at almost no cost.
CREATE INDEX idx_audit_log_timestamp ON intake.audit_log USING brin ("timestamp");

COMMENT ON TABLE intake.audit_log IS 'Audit trail for all data operations';
COMMENT ON COLUMN intake.audit_log.log_id IS 'Primary key';
COMMENT ON COLUMN intake.audit_log.action IS
    'Action performed: contact_ingested, contact_promoted, contact_updated, contact_deleted, batch_processed, batch_abandoned, load_retried';
COMMENT ON COLUMN intake.audit_log.load_id IS 'Related load_id';
COMMENT ON COLUMN intake.audit_log.contact_id IS 'Related contact_id';
COMMENT ON COLUMN intake.audit_log.details IS 'Action details; always the actor';
COMMENT ON COLUMN intake.audit_log."timestamp" IS 'Action timestamp';
