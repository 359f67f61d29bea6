//! The reference schema, word by word. Types are written as the reference writes them.

/// `column type nullability`, a line a column.
pub(super) const TABLES: &[(&str, &str)] = &[
    (
        "intake.raw_loads",
        "load_id bigserial NO
         batch_id text NO
         source text NO
         raw_data jsonb NO
         status text NO
         created_at timestamptz NO
         promoted_at timestamptz YES
         metadata jsonb NO",
    ),
    (
        "vault.contacts",
        "contact_id bigserial NO
         email text NO
         name text YES
         phone text YES
         company text YES
         title text YES
         source text NO
         tags jsonb NO
         custom_fields jsonb NO
         load_id bigint YES
         created_at timestamptz NO
         updated_at timestamptz NO
         last_activity_at timestamptz YES
         score numeric(5,2) NO
         status text NO",
    ),
    (
        "intake.audit_log",
        "log_id bigserial NO
         action text NO
         load_id bigint YES
         contact_id bigint YES
         details jsonb NO
         timestamp timestamptz NO",
    ),
    (
        "company.master",
        "id uuid NO
         domain text NO
         name text YES
         industry text YES
         employee_count integer YES
         revenue numeric YES
         location text YES
         linkedin_url text YES
         website text YES
         created_at timestamptz NO
         updated_at timestamptz NO
         enriched_at timestamptz YES
         status text NO",
    ),
    (
        "company.slot",
        "id uuid NO
         domain text NO
         raw_data jsonb NO
         validation_status text NO
         created_at timestamptz NO
         promoted_at timestamptz YES",
    ),
    (
        "company.history",
        "history_id bigserial NO
         company_id uuid NO
         changed_fields jsonb NO
         old_values jsonb NO
         new_values jsonb NO
         changed_by text YES
         changed_at timestamptz NO",
    ),
    (
        "people.master",
        "id uuid NO
         email text NO
         name text YES
         first_name text YES
         last_name text YES
         title text YES
         company_id uuid YES
         linkedin_url text YES
         phone text YES
         location text YES
         seniority text YES
         department text YES
         created_at timestamptz NO
         updated_at timestamptz NO
         enriched_at timestamptz YES
         status text NO",
    ),
    (
        "people.slot",
        "id uuid NO
         email text NO
         raw_data jsonb NO
         validation_status text NO
         created_at timestamptz NO
         promoted_at timestamptz YES",
    ),
    (
        "people.intelligence",
        "id uuid NO
         person_id uuid NO
         linkedin_data jsonb NO
         skills text[] YES
         experience jsonb YES
         education jsonb YES
         fetched_at timestamptz NO
         stale_at timestamptz NO",
    ),
    (
        "people.history",
        "history_id bigserial NO
         person_id uuid NO
         changed_fields jsonb NO
         old_values jsonb NO
         new_values jsonb NO
         changed_by text YES
         changed_at timestamptz NO",
    ),
    (
        "marketing.campaigns",
        "campaign_id uuid NO
         name text NO
         type text NO
         status text NO
         target_count integer YES
         sent_count integer NO
         response_count integer NO
         created_at timestamptz NO
         started_at timestamptz YES
         ended_at timestamptz YES",
    ),
    (
        "marketing.outreach_history",
        "id uuid NO
         person_id uuid NO
         campaign_id uuid YES
         channel text NO
         message_type text NO
         sent_at timestamptz NO
         opened_at timestamptz YES
         replied_at timestamptz YES
         status text NO",
    ),
    (
        "marketing.attribution",
        "id uuid NO
         person_id uuid NO
         campaign_id uuid YES
         conversion_type text NO
         converted_at timestamptz NO
         value numeric YES
         source_touchpoint text YES
         final_touchpoint text YES",
    ),
    (
        "marketing.feedback_reports",
        "id uuid NO
         campaign_id uuid NO
         report_date date NO
         metrics jsonb NO
         insights text YES
         created_at timestamptz NO",
    ),
];

/// The first column of each table is its primary key.
pub(super) fn primary_key(columns: &'static str) -> &'static str {
    columns.split(' ').next().unwrap()
}

/// `table column -> table column`.
pub(super) const FOREIGN_KEYS: &[&str] = &[
    "company.history company_id -> company.master id",
    "marketing.attribution campaign_id -> marketing.campaigns campaign_id",
    "marketing.attribution person_id -> people.master id",
    "marketing.feedback_reports campaign_id -> marketing.campaigns campaign_id",
    "marketing.outreach_history campaign_id -> marketing.campaigns campaign_id",
    "marketing.outreach_history person_id -> people.master id",
    "people.history person_id -> people.master id",
    "people.intelligence person_id -> people.master id",
    "people.master company_id -> company.master id",
    "vault.contacts load_id -> intake.raw_loads load_id",
];

/// Name and definition, as PostgreSQL prints what stands behind `INDEX`.
pub(super) const INDEXES: &[(&str, &str)] = &[
    ("idx_raw_loads_batch_id", "intake.raw_loads (batch_id)"),
    ("idx_raw_loads_source", "intake.raw_loads (source)"),
    ("idx_raw_loads_status", "intake.raw_loads (status)"),
    (
        "idx_raw_loads_created_at",
        "intake.raw_loads (created_at DESC)",
    ),
    (
        "idx_raw_loads_raw_data_email",
        "intake.raw_loads (((raw_data ->> 'email'::text)))",
    ),
    ("idx_contacts_email", "UNIQUE vault.contacts (email)"),
    ("idx_contacts_source", "vault.contacts (source)"),
    (
        "idx_contacts_created_at",
        "vault.contacts (created_at DESC)",
    ),
    ("idx_contacts_score", "vault.contacts (score DESC)"),
    ("idx_contacts_status", "vault.contacts (status)"),
    ("idx_contacts_company", "vault.contacts (company)"),
    ("idx_company_domain", "UNIQUE company.master (domain)"),
    ("idx_company_name", "company.master (name)"),
    ("idx_company_industry", "company.master (industry)"),
    ("idx_people_email", "UNIQUE people.master (email)"),
    ("idx_people_company_id", "people.master (company_id)"),
    ("idx_people_linkedin_url", "people.master (linkedin_url)"),
];

/// Table, column, and what it may hold.
pub(super) const LISTS: &[(&str, &str, &[&str])] = &[
    (
        "intake.raw_loads",
        "status",
        &["pending", "promoted", "failed", "duplicate"],
    ),
    (
        "vault.contacts",
        "status",
        &["active", "inactive", "bounced", "unsubscribed"],
    ),
    (
        "company.master",
        "status",
        &["active", "inactive", "archived"],
    ),
    (
        "company.slot",
        "validation_status",
        &["pending", "validated", "rejected"],
    ),
    (
        "people.master",
        "status",
        &["active", "inactive", "bounced"],
    ),
    (
        "people.slot",
        "validation_status",
        &["pending", "validated", "rejected"],
    ),
    (
        "marketing.campaigns",
        "type",
        &["cold_outreach", "nurture", "follow_up"],
    ),
    (
        "marketing.campaigns",
        "status",
        &["draft", "active", "paused", "completed"],
    ),
    (
        "marketing.outreach_history",
        "channel",
        &["email", "linkedin", "phone"],
    ),
    (
        "marketing.outreach_history",
        "message_type",
        &["initial", "follow_up", "reply"],
    ),
    (
        "marketing.outreach_history",
        "status",
        &["sent", "opened", "replied", "bounced"],
    ),
    (
        "marketing.attribution",
        "conversion_type",
        &["meeting", "demo", "signup", "sale"],
    ),
];

/// A row of each table with nothing but what has no default.
pub(super) const MINIMAL_ROWS: &str = "
    INSERT INTO intake.raw_loads (batch_id, source, raw_data) VALUES ('b', 'apollo', '{}');
    INSERT INTO vault.contacts (email, source) VALUES ('john@example.com', 'apollo');
    INSERT INTO intake.audit_log (action) VALUES ('contact_ingested');
    INSERT INTO company.master (domain) VALUES ('example.com');
    INSERT INTO company.slot (domain, raw_data) VALUES ('example.com', '{}');
    INSERT INTO company.history (company_id, changed_fields, old_values, new_values)
        SELECT id, '[]', '{}', '{}' FROM company.master;
    INSERT INTO people.master (email) VALUES ('john@example.com');
    INSERT INTO people.slot (email, raw_data) VALUES ('john@example.com', '{}');
    INSERT INTO people.intelligence (person_id, linkedin_data) SELECT id, '{}' FROM people.master;
    INSERT INTO people.history (person_id, changed_fields, old_values, new_values)
        SELECT id, '[]', '{}', '{}' FROM people.master;
    INSERT INTO marketing.campaigns (name, type) VALUES ('Spring', 'nurture');
    INSERT INTO marketing.outreach_history (person_id, channel, message_type)
        SELECT id, 'email', 'initial' FROM people.master;
    INSERT INTO marketing.attribution (person_id, conversion_type) SELECT id, 'demo' FROM people.master;
    INSERT INTO marketing.feedback_reports (campaign_id, report_date, metrics)
        SELECT campaign_id, current_date, '{}' FROM marketing.campaigns;";
