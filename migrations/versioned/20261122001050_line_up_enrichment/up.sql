-- The enrichment queue gets a line, and who is archived can be looked up.

-- Who is free stands in the line, in the order of leases; who is with a worker, or waits for a next attempt,
-- stands beside it, by the time when that ends. So a lease reads the head of the line and, of those beside it,
-- who is due by now; with one index for all it stepped over everybody of a higher rank who was not.
--
-- Where an entry stands says where it is looked for, and never who may have it: that is for state and
-- available_at alone, so that an entry which was written by hand is found like any.
ALTER TABLE ple.enrichment_queue ADD COLUMN in_line boolean NOT NULL DEFAULT true;

COMMENT ON COLUMN ple.enrichment_queue.in_line IS
    'Whether a lease looks for it in the line, or beside it among those who wait for available_at';

UPDATE ple.enrichment_queue SET in_line = false WHERE available_at > clock_timestamp();

-- Every lease leaves a dead entry at the head of an index, which the next ones step over until it is vacuumed; and
-- the counts read no entries where the vacuum was.
ALTER TABLE ple.enrichment_queue
    SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);

DROP INDEX ple.idx_enrichment_queue_next;
-- The line: the highest priority, of equals the oldest. The state is there for the counts.
CREATE INDEX idx_enrichment_queue_line
    ON ple.enrichment_queue (priority DESC, enqueued_at, person_id, available_at) INCLUDE (state)
    WHERE state IN ('queued', 'leased') AND in_line;
-- Those beside it, with all that says which of them goes first.
CREATE INDEX idx_enrichment_queue_beside
    ON ple.enrichment_queue (available_at) INCLUDE (state, priority, enqueued_at, person_id)
    WHERE state IN ('queued', 'leased') AND NOT in_line;

-- Whether a person was archived, for whoever lifts a suppression.
CREATE INDEX idx_audit_log_archived_person ON intake.audit_log ((details ->> 'person_id'), log_id)
    WHERE action = 'person_archived';

COMMENT ON COLUMN intake.audit_log.action IS
    'Action performed: contact_ingested, contact_promoted, contact_updated, contact_unchanged, contact_deleted, batch_processed, batch_abandoned, load_retried, load_failed, suppression_added, suppression_lifted, person_updated, person_archived';
