-- The lists of entries in force, in the order of entry: without these, a list of the few with a rare reason
-- would read the whole ledger by its primary key, and so would one of what is in force among much that was
-- lifted.
CREATE INDEX idx_suppressions_in_force_id ON vault.suppressions (suppression_id) WHERE lifted_at IS NULL;
CREATE INDEX idx_suppressions_reason ON vault.suppressions (reason, suppression_id) WHERE lifted_at IS NULL;
CREATE INDEX idx_suppressions_scope ON vault.suppressions (scope, suppression_id) WHERE lifted_at IS NULL;

COMMENT ON COLUMN intake.audit_log.action IS
    'Action performed: contact_ingested, contact_promoted, contact_updated, contact_unchanged, contact_deleted, batch_processed, batch_abandoned, load_retried, load_failed, suppression_added, suppression_lifted, person_updated';
