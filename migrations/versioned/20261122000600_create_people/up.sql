CREATE TABLE people.master (
    id           uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT master_pkey PRIMARY KEY,
    email        text        NOT NULL,
    name         text,
    first_name   text,
    last_name    text,
    title        text,
    company_id   uuid,
    linkedin_url text,
    phone        text,
    location     text,
    seniority    text,
    department   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    enriched_at  timestamptz,
    status       text        NOT NULL DEFAULT 'active',
    CONSTRAINT master_company_id_fkey FOREIGN KEY (company_id) REFERENCES company.master (id),
    CONSTRAINT master_status_check CHECK (status IN ('active', 'inactive', 'bounced'))
);

CREATE UNIQUE INDEX idx_people_email ON people.master (email);
CREATE INDEX idx_people_company_id ON people.master (company_id);
CREATE INDEX idx_people_linkedin_url ON people.master (linkedin_url);

COMMENT ON TABLE people.master IS 'People master data (golden records)';
COMMENT ON COLUMN people.master.id IS 'Primary key';
COMMENT ON COLUMN people.master.email IS 'Email (unique), normalized';
COMMENT ON COLUMN people.master.name IS 'Full name';
COMMENT ON COLUMN people.master.first_name IS 'First name';
COMMENT ON COLUMN people.master.last_name IS 'Last name';
COMMENT ON COLUMN people.master.title IS 'Job title';
COMMENT ON COLUMN people.master.company_id IS 'The company that the person works for';
COMMENT ON COLUMN people.master.linkedin_url IS 'LinkedIn profile';
COMMENT ON COLUMN people.master.phone IS 'Phone number';
COMMENT ON COLUMN people.master.location IS 'Location';
COMMENT ON COLUMN people.master.seniority IS 'Seniority level';
COMMENT ON COLUMN people.master.department IS 'Department';
COMMENT ON COLUMN people.master.created_at IS 'Creation timestamp';
COMMENT ON COLUMN people.master.updated_at IS 'Last update';
COMMENT ON COLUMN people.master.enriched_at IS 'Last enrichment';
COMMENT ON COLUMN people.master.status IS 'Status (active, inactive, bounced)';

CREATE TABLE people.slot (
    id                uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT slot_pkey PRIMARY KEY,
    email             text        NOT NULL,
    raw_data          jsonb       NOT NULL,
    validation_status text        NOT NULL DEFAULT 'pending',
    created_at        timestamptz NOT NULL DEFAULT now(),
    promoted_at       timestamptz,
    CONSTRAINT slot_validation_status_check CHECK (validation_status IN ('pending', 'validated', 'rejected'))
);

COMMENT ON TABLE people.slot IS 'Staging area for people data before promotion';
COMMENT ON COLUMN people.slot.id IS 'Primary key';
COMMENT ON COLUMN people.slot.email IS 'Email, normalized';
COMMENT ON COLUMN people.slot.raw_data IS 'Raw person data';
COMMENT ON COLUMN people.slot.validation_status IS 'Status (pending, validated, rejected)';
COMMENT ON COLUMN people.slot.created_at IS 'Creation timestamp';
COMMENT ON COLUMN people.slot.promoted_at IS 'Promotion timestamp';

CREATE TABLE people.intelligence (
    id            uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT intelligence_pkey PRIMARY KEY,
    person_id     uuid        NOT NULL,
    linkedin_data jsonb       NOT NULL,
    skills        text[],
    experience    jsonb,
    education     jsonb,
    fetched_at    timestamptz NOT NULL DEFAULT now(),
    stale_at      timestamptz NOT NULL DEFAULT now() + interval '30 days',
    CONSTRAINT intelligence_person_id_fkey FOREIGN KEY (person_id) REFERENCES people.master (id),
    CONSTRAINT intelligence_stale_at_check CHECK (stale_at >= fetched_at)
);

CREATE INDEX idx_intelligence_person_id ON people.intelligence (person_id, fetched_at DESC);
CREATE INDEX idx_intelligence_stale_at ON people.intelligence (stale_at);

COMMENT ON TABLE people.intelligence IS 'LinkedIn enrichment data; expires after 30 days';
COMMENT ON COLUMN people.intelligence.id IS 'Primary key';
COMMENT ON COLUMN people.intelligence.person_id IS 'The person that it tells of';
COMMENT ON COLUMN people.intelligence.linkedin_data IS 'LinkedIn profile data';
COMMENT ON COLUMN people.intelligence.skills IS 'Skills array';
COMMENT ON COLUMN people.intelligence.experience IS 'Work experience';
COMMENT ON COLUMN people.intelligence.education IS 'Education history';
COMMENT ON COLUMN people.intelligence.fetched_at IS 'Data fetch timestamp';
COMMENT ON COLUMN people.intelligence.stale_at IS 'When data becomes stale (30 days)';

CREATE TABLE people.history (
    history_id     bigserial   CONSTRAINT history_pkey PRIMARY KEY,
    person_id      uuid        NOT NULL,
    changed_fields jsonb       NOT NULL,
    old_values     jsonb       NOT NULL,
    new_values     jsonb       NOT NULL,
    changed_by     text,
    changed_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT history_person_id_fkey FOREIGN KEY (person_id) REFERENCES people.master (id),
    CONSTRAINT history_changed_fields_check CHECK (jsonb_typeof(changed_fields) = 'array'),
    CONSTRAINT history_old_values_check CHECK (jsonb_typeof(old_values) = 'object'),
    CONSTRAINT history_new_values_check CHECK (jsonb_typeof(new_values) = 'object')
);

CREATE INDEX idx_people_history_person_id ON people.history (person_id, history_id);

COMMENT ON TABLE people.history IS 'Change tracking for people records';
COMMENT ON COLUMN people.history.history_id IS 'Primary key; the order of the changes';
COMMENT ON COLUMN people.history.person_id IS 'The person that changed';
COMMENT ON COLUMN people.history.changed_fields IS 'Changed fields: an array of column names';
COMMENT ON COLUMN people.history.old_values IS 'Previous values of the changed fields';
COMMENT ON COLUMN people.history.new_values IS 'New values of the changed fields';
COMMENT ON COLUMN people.history.changed_by IS 'User/system identifier';
COMMENT ON COLUMN people.history.changed_at IS 'Change timestamp';

-- The history is the database's own: nobody writes it directly.
GRANT INSERT, UPDATE, DELETE ON people.master, people.slot, people.intelligence TO leadvault_app;
