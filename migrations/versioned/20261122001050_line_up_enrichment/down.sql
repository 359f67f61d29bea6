COMMENT ON COLUMN intake.audit_log.action IS
    'Action performed: contact_ingested, contact_promoted, contact_updated, contact_unchanged, contact_deleted, batch_processed, batch_abandoned, load_retried, load_failed, suppression_added, suppression_lifted, person_updated';

DROP INDEX intake.idx_audit_log_archived_person;

DROP INDEX ple.idx_enrichment_queue_beside;
DROP INDEX ple.idx_enrichment_queue_line;
ALTER TABLE ple.enrichment_queue
    RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor),
    DROP COLUMN in_line;
CREATE INDEX idx_enrichment_queue_next
    ON ple.enrichment_queue (priority DESC, enqueued_at, person_id, available_at)
    WHERE state IN ('queued', 'leased');
