CREATE TABLE company.master (
    id             uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT master_pkey PRIMARY KEY,
    domain         text        NOT NULL,
    name           text,
    industry       text,
    employee_count integer,
    revenue        numeric,
    location       text,
    linkedin_url   text,
    website        text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    enriched_at    timestamptz,
    status         text        NOT NULL DEFAULT 'active',
    CONSTRAINT master_status_check CHECK (status IN ('active', 'inactive', 'archived'))
);

CREATE UNIQUE INDEX idx_company_domain ON company.master (domain);
CREATE INDEX idx_company_name ON company.master (name);
CREATE INDEX idx_company_industry ON company.master (industry);

COMMENT ON TABLE company.master IS 'Company master data (golden records)';
COMMENT ON COLUMN company.master.id IS 'Primary key';
COMMENT ON COLUMN company.master.domain IS 'Company domain (unique)';
COMMENT ON COLUMN company.master.name IS 'Company name';
COMMENT ON COLUMN company.master.industry IS 'Industry category';
COMMENT ON COLUMN company.master.employee_count IS 'Employee count';
COMMENT ON COLUMN company.master.revenue IS 'Annual revenue';
COMMENT ON COLUMN company.master.location IS 'HQ location';
COMMENT ON COLUMN company.master.linkedin_url IS 'LinkedIn company page';
COMMENT ON COLUMN company.master.website IS 'Company website';
COMMENT ON COLUMN company.master.created_at IS 'Creation timestamp';
COMMENT ON COLUMN company.master.updated_at IS 'Last update';
COMMENT ON COLUMN company.master.enriched_at IS 'Last enrichment';
COMMENT ON COLUMN company.master.status IS 'Status (active, inactive, archived)';

CREATE TABLE company.slot (
    id                uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT slot_pkey PRIMARY KEY,
    domain            text        NOT NULL,
    raw_data          jsonb       NOT NULL,
    validation_status text        NOT NULL DEFAULT 'pending',
    created_at        timestamptz NOT NULL DEFAULT now(),
    promoted_at       timestamptz,
    CONSTRAINT slot_validation_status_check CHECK (validation_status IN ('pending', 'validated', 'rejected'))
);

COMMENT ON TABLE company.slot IS 'Staging area for company data before promotion';
COMMENT ON COLUMN company.slot.id IS 'Primary key';
COMMENT ON COLUMN company.slot.domain IS 'Company domain';
COMMENT ON COLUMN company.slot.raw_data IS 'Raw company data';
COMMENT ON COLUMN company.slot.validation_status IS 'Status (pending, validated, rejected)';
COMMENT ON COLUMN company.slot.created_at IS 'Creation timestamp';
COMMENT ON COLUMN company.slot.promoted_at IS 'Promotion timestamp';

CREATE TABLE company.history (
    history_id     bigserial   CONSTRAINT history_pkey PRIMARY KEY,
    company_id     uuid        NOT NULL,
    changed_fields jsonb       NOT NULL,
    old_values     jsonb       NOT NULL,
    new_values     jsonb       NOT NULL,
    changed_by     text,
    changed_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT history_company_id_fkey FOREIGN KEY (company_id) REFERENCES company.master (id),
    CONSTRAINT history_changed_fields_check CHECK (jsonb_typeof(changed_fields) = 'array'),
    CONSTRAINT history_old_values_check CHECK (jsonb_typeof(old_values) = 'object'),
    CONSTRAINT history_new_values_check CHECK (jsonb_typeof(new_values) = 'object')
);

CREATE INDEX idx_company_history_company_id ON company.history (company_id, history_id);

COMMENT ON TABLE company.history IS 'Change tracking for company records';
COMMENT ON COLUMN company.history.history_id IS 'Primary key; the order of the changes';
COMMENT ON COLUMN company.history.company_id IS 'The company that changed';
COMMENT ON COLUMN company.history.changed_fields IS 'Changed fields: an array of column names';
COMMENT ON COLUMN company.history.old_values IS 'Previous values of the changed fields';
COMMENT ON COLUMN company.history.new_values IS 'New values of the changed fields';
COMMENT ON COLUMN company.history.changed_by IS 'User/system identifier';
COMMENT ON COLUMN company.history.changed_at IS 'Change timestamp';

-- The history is the database's own: nobody writes it directly.
GRANT INSERT, UPDATE, DELETE ON company.master, company.slot TO leadvault_app;
