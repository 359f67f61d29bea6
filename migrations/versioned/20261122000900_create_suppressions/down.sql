DROP TABLE vault.suppressions;
DROP INDEX intake.idx_raw_loads_pending;
DROP INDEX vault.idx_contacts_load_id;
DROP INDEX vault.idx_contacts_tags;
DROP INDEX vault.idx_contacts_updated_at;
ALTER TABLE vault.contacts DROP COLUMN pinned_fields;
