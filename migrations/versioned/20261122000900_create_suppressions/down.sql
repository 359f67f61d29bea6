DROP TABLE vault.suppressions;
DROP INDEX intake.idx_raw_loads_pending;
DROP INDEX vault.idx_contacts_load_id;
DROP INDEX vault.idx_contacts_tags;
DROP INDEX vault.idx_contacts_source_created_at_id;
DROP INDEX vault.idx_contacts_score_id;
DROP INDEX vault.idx_contacts_updated_at_id;
DROP INDEX vault.idx_contacts_created_at_id;
ALTER TABLE vault.contacts DROP COLUMN pinned_fields;
