CREATE TABLE vault.contacts (
    contact_id       bigserial     CONSTRAINT contacts_pkey PRIMARY KEY,
    email            text          NOT NULL,
    name             text,
    phone            text,
    company          text,
    title            text,
    source           text          NOT NULL,
    tags             jsonb         NOT NULL DEFAULT '[]',
    custom_fields    jsonb         NOT NULL DEFAULT '{}',
    load_id          bigint,
    created_at       timestamptz   NOT NULL DEFAULT now(),
    updated_at       timestamptz   NOT NULL DEFAULT now(),
    last_activity_at timestamptz,
    score            numeric(5, 2) NOT NULL DEFAULT 0,
    status           text          NOT NULL DEFAULT 'active',
    CONSTRAINT contacts_load_id_fkey FOREIGN KEY (load_id) REFERENCES intake.raw_loads (load_id),
    CONSTRAINT contacts_tags_check CHECK (jsonb_typeof(tags) = 'array'),
    CONSTRAINT contacts_custom_fields_check CHECK (jsonb_typeof(custom_fields) = 'object'),
    -- NaN sorts above every number, so the upper bound refuses it too.
    CONSTRAINT contacts_score_check CHECK (score >= 0 AND score <= 100),
    CONSTRAINT contacts_status_check CHECK (status IN ('active', 'inactive', 'bounced', 'unsubscribed'))
);

CREATE UNIQUE INDEX idx_contacts_email ON vault.contacts (email);
CREATE INDEX idx_contacts_source ON vault.contacts (source);
CREATE INDEX idx_contacts_created_at ON vault.contacts (created_at DESC);
CREATE INDEX idx_contacts_score ON vault.contacts (score DESC);
CREATE INDEX idx_contacts_status ON vault.contacts (status);
CREATE INDEX idx_contacts_company ON vault.contacts (company);

ALTER TABLE vault.contacts ENABLE ROW LEVEL SECURITY;
-- No policy lets anyone insert, update or delete: only the functions' owner passes.
CREATE POLICY contacts_select ON vault.contacts FOR SELECT USING (true);

COMMENT ON TABLE vault.contacts IS 'Validated, promoted contacts';
COMMENT ON COLUMN vault.contacts.contact_id IS 'Primary key';
COMMENT ON COLUMN vault.contacts.email IS 'Email (unique), normalized';
COMMENT ON COLUMN vault.contacts.name IS 'Full name';
COMMENT ON COLUMN vault.contacts.phone IS 'Phone number';
COMMENT ON COLUMN vault.contacts.company IS 'Company name';
COMMENT ON COLUMN vault.contacts.title IS 'Job title';
COMMENT ON COLUMN vault.contacts.source IS 'Original source';
COMMENT ON COLUMN vault.contacts.tags IS 'Tags array';
COMMENT ON COLUMN vault.contacts.custom_fields IS 'Custom fields object';
COMMENT ON COLUMN vault.contacts.load_id IS 'The newest load that changed the contact';
COMMENT ON COLUMN vault.contacts.created_at IS 'Creation timestamp';
COMMENT ON COLUMN vault.contacts.updated_at IS 'Last update timestamp';
COMMENT ON COLUMN vault.contacts.last_activity_at IS 'Last activity timestamp';
COMMENT ON COLUMN vault.contacts.score IS 'Lead score (0-100)';
COMMENT ON COLUMN vault.contacts.status IS 'Status (active, inactive, bounced, unsubscribed)';
