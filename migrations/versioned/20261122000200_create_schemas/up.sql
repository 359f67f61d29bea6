CREATE SCHEMA intake;
CREATE SCHEMA vault;
CREATE SCHEMA company;
CREATE SCHEMA people;
CREATE SCHEMA marketing;
CREATE SCHEMA bit;
CREATE SCHEMA ple;

COMMENT ON SCHEMA intake IS 'Raw data ingestion and staging';
COMMENT ON SCHEMA vault IS 'Promoted, validated contacts';
COMMENT ON SCHEMA company IS 'Company master data';
COMMENT ON SCHEMA people IS 'People master data';
COMMENT ON SCHEMA marketing IS 'Campaigns and outreach';
COMMENT ON SCHEMA bit IS 'Business Intelligence Tables';
COMMENT ON SCHEMA ple IS 'People Lead Enrichment';

GRANT USAGE ON SCHEMA intake, vault, company, people, marketing, bit, ple
    TO leadvault_app, leadvault_monitor;

-- Both roles read every table that is or will be; writes are granted table by table.
ALTER DEFAULT PRIVILEGES IN SCHEMA intake, vault, company, people, marketing, bit, ple
    GRANT SELECT ON TABLES TO leadvault_app, leadvault_monitor;
