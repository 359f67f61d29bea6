DROP TABLE ple.enrichment_queue;

DROP INDEX people.idx_people_company_domains;
DROP INDEX people.idx_people_status_created_at_id;
DROP INDEX people.idx_people_enriched_at;
DROP INDEX people.idx_people_location_prefix;
DROP INDEX people.idx_people_name_prefix;
DROP INDEX people.idx_people_email_domain;
DROP INDEX people.idx_people_department_created_at_id;
DROP INDEX people.idx_people_seniority_created_at_id;
DROP INDEX people.idx_people_company_id_created_at_id;
DROP INDEX people.idx_people_updated_at_id;
DROP INDEX people.idx_people_created_at_id;
ALTER TABLE people.master
    DROP COLUMN company_domains,
    DROP COLUMN pinned_fields;
COMMENT ON COLUMN people.master.linkedin_url IS 'LinkedIn profile';
DROP TABLE people.staged_contacts;
DROP TABLE people.slot_heads;
DROP INDEX people.idx_people_slot_created_at;
-- Its other new indexes go with their columns.
DROP INDEX people.idx_people_slot_pending;
ALTER TABLE people.slot
    DROP COLUMN slot_number,
    DROP COLUMN source,
    DROP COLUMN batch_id,
    DROP COLUMN row_offset,
    DROP COLUMN contact_id,
    DROP COLUMN staged_by,
    DROP COLUMN rejection_reason,
    DROP COLUMN rejection_detail,
    DROP COLUMN notes;

DROP INDEX company.idx_company_status_created_at_id;
DROP INDEX company.idx_company_enriched_at;
DROP INDEX company.idx_company_location_prefix;
DROP INDEX company.idx_company_name_prefix;
DROP INDEX company.idx_company_industry_created_at_id;
DROP INDEX company.idx_company_employee_count_id;
DROP INDEX company.idx_company_updated_at_id;
DROP INDEX company.idx_company_created_at_id;
ALTER TABLE company.master
    DROP CONSTRAINT master_revenue_check,
    DROP CONSTRAINT master_employee_count_check,
    DROP COLUMN pinned_fields;
COMMENT ON COLUMN company.master.linkedin_url IS 'LinkedIn company page';
DROP TABLE company.staged_contacts;
DROP TABLE company.slot_heads;
DROP INDEX company.idx_company_slot_created_at;
-- Its other new indexes go with their columns.
DROP INDEX company.idx_company_slot_pending;
ALTER TABLE company.slot
    DROP COLUMN slot_number,
    DROP COLUMN source,
    DROP COLUMN batch_id,
    DROP COLUMN row_offset,
    DROP COLUMN contact_id,
    DROP COLUMN staged_by,
    DROP COLUMN rejection_reason,
    DROP COLUMN rejection_detail,
    DROP COLUMN notes;

-- What was staged leaves the lanes that the older schema does not know.
DELETE FROM intake.rejected_rows WHERE lane < -1;
DELETE FROM intake.batch_chunks WHERE lane < -1;
DELETE FROM intake.batch_lanes WHERE lane < -1;

ALTER TABLE intake.rejected_rows
    DROP CONSTRAINT rejected_rows_reason_check,
    ADD CONSTRAINT rejected_rows_reason_check CHECK (reason IN (
        'EMPTY_ROW', 'NOT_UTF8', 'NOT_JSON', 'NOT_AN_OBJECT', 'MISSING_EMAIL', 'INVALID_EMAIL',
        'ROW_TOO_LARGE', 'NESTED_TOO_DEEPLY', 'UNSTORABLE_TEXT', 'NUMBER_OUT_OF_RANGE', 'TEXT_TOO_LONG',
        'UNREADABLE'));
ALTER TABLE intake.batch_lanes
    DROP CONSTRAINT batch_lanes_lane_check,
    ADD CONSTRAINT batch_lanes_lane_check CHECK (lane BETWEEN -1 AND 63);
COMMENT ON COLUMN intake.batch_lanes.lane IS 'Its number; -1 holds the rows of single calls';
COMMENT ON COLUMN intake.batch_lanes.accepted IS 'Rows stored as pending';
COMMENT ON COLUMN intake.batch_lanes.duplicate IS 'Rows stored as duplicate';
