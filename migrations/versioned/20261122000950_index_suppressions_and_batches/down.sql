COMMENT ON COLUMN intake.audit_log.action IS
    'Action performed: contact_ingested, contact_promoted, contact_updated, contact_deleted, batch_processed, batch_abandoned, load_retried';

DROP INDEX vault.idx_suppressions_scope;
DROP INDEX vault.idx_suppressions_reason;
DROP INDEX vault.idx_suppressions_in_force_id;
