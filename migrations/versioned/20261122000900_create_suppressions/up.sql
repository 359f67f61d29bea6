-- The pins of a contact: which fields a person edited, so that promotion leaves them alone. No table of
-- its own, since promotion reads them with every contact that it merges.
ALTER TABLE vault.contacts
    ADD COLUMN pinned_fields text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT contacts_pinned_fields_check
        CHECK (pinned_fields <@ ARRAY['name', 'phone', 'company', 'title', 'tags', 'custom_fields']);

COMMENT ON COLUMN vault.contacts.pinned_fields IS
    'Fields that a person edited; promotion leaves them alone until they are unpinned';

-- The orders of a list. Many contacts share a moment or a score, so that the id which decides between them
-- is in the index: without it each page would sort all that share one.
CREATE INDEX idx_contacts_created_at_id ON vault.contacts (created_at, contact_id);
CREATE INDEX idx_contacts_updated_at_id ON vault.contacts (updated_at, contact_id);
CREATE INDEX idx_contacts_score_id ON vault.contacts (score, contact_id);
-- A source is a large part of the contacts and comes in one piece: in the order of creation alone, its
-- first page could be behind a million others.
CREATE INDEX idx_contacts_source_created_at_id ON vault.contacts (source, created_at, contact_id);
CREATE INDEX idx_contacts_tags ON vault.contacts USING gin (tags jsonb_path_ops);
-- For the foreign key: whoever deletes a load would read all contacts without it.
CREATE INDEX idx_contacts_load_id ON vault.contacts (load_id);

-- What promotion looks for next, in the order in which it works.
CREATE INDEX idx_raw_loads_pending ON intake.raw_loads (load_id) WHERE status = 'pending';

CREATE TABLE vault.suppressions (
    suppression_id bigserial   CONSTRAINT suppressions_pkey PRIMARY KEY,
    email          text        NOT NULL,
    scope          text        NOT NULL,
    reason         text        NOT NULL,
    evidence       text        NOT NULL,
    created_by     text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at      timestamptz,
    lifted_by      text,
    lift_evidence  text,
    CONSTRAINT suppressions_scope_check CHECK (scope IN ('all', 'email', 'linkedin', 'phone')),
    CONSTRAINT suppressions_reason_check
        CHECK (reason IN ('unsubscribed', 'bounced', 'complaint', 'manual', 'legal')),
    CONSTRAINT suppressions_lifted_check CHECK (
        (lifted_at IS NULL) = (lifted_by IS NULL)
        AND (lifted_at IS NULL) = (lift_evidence IS NULL)
        AND lift_evidence <> '')
);

CREATE UNIQUE INDEX idx_suppressions_in_force ON vault.suppressions (email, scope, reason)
    WHERE lifted_at IS NULL;
CREATE INDEX idx_suppressions_email ON vault.suppressions (email, suppression_id);

COMMENT ON TABLE vault.suppressions IS
    'The ledger of standing orders not to contact an address, whether or not it has a contact';
COMMENT ON COLUMN vault.suppressions.suppression_id IS 'Primary key';
COMMENT ON COLUMN vault.suppressions.email IS 'The normalized address';
COMMENT ON COLUMN vault.suppressions.scope IS 'What it forbids (all, email, linkedin, phone)';
COMMENT ON COLUMN vault.suppressions.reason IS 'Why (unsubscribed, bounced, complaint, manual, legal)';
COMMENT ON COLUMN vault.suppressions.evidence IS 'What shows it';
COMMENT ON COLUMN vault.suppressions.created_by IS 'The actor who entered it';
COMMENT ON COLUMN vault.suppressions.created_at IS 'When it came into force';
COMMENT ON COLUMN vault.suppressions.lifted_at IS 'When it was lifted';
COMMENT ON COLUMN vault.suppressions.lifted_by IS 'The actor who lifted it';
COMMENT ON COLUMN vault.suppressions.lift_evidence IS 'What showed that it may be lifted';
