-- What the ledgers add up to, for people and dashboards.

-- The way from the rows that came in to golden records. Read from the ledgers, so that it shows what is, not
-- what some run said. Who reads it needs to be allowed to read these.
CREATE VIEW bit.lead_funnel
WITH (security_invoker = true)
AS
WITH received AS (
    SELECT coalesce(sum(accepted), 0)::bigint AS accepted,
           coalesce(sum(duplicate), 0)::bigint AS duplicate,
           coalesce(sum(rejected), 0)::bigint AS rejected
    FROM intake.batch_lanes
    -- The lanes below hold the rows that were staged for companies and people.
    WHERE lane >= -1
), slots AS (
    SELECT count(*) AS staged,
           count(*) FILTER (WHERE validation_status = 'validated') AS validated,
           count(*) FILTER (WHERE validation_status = 'rejected') AS rejected
    FROM company.slot
), person_slots AS (
    SELECT count(*) AS staged,
           count(*) FILTER (WHERE validation_status = 'validated') AS validated,
           count(*) FILTER (WHERE validation_status = 'rejected') AS rejected
    FROM people.slot
), stages AS (
    SELECT s.place, s.stage, s.count
    FROM received AS r, slots AS c, person_slots AS p,
    LATERAL (VALUES
        (1, 'rows received', r.accepted + r.duplicate + r.rejected),
        (2, 'rows accepted', r.accepted),
        (3, 'rows duplicate', r.duplicate),
        (4, 'rows rejected', r.rejected),
        (5, 'contacts', (SELECT count(*) FROM vault.contacts)),
        (6, 'company slots', c.staged),
        (7, 'company slots validated', c.validated),
        (8, 'company slots rejected', c.rejected),
        (9, 'companies', (SELECT count(*) FROM company.master)),
        (10, 'person slots', p.staged),
        (11, 'person slots validated', p.validated),
        (12, 'person slots rejected', p.rejected),
        (13, 'people', (SELECT count(*) FROM people.master)),
        (14, 'people linked to a company', (SELECT count(*) FROM people.master WHERE company_id IS NOT NULL))
    ) AS s (place, stage, count)
)
SELECT stage, count FROM stages ORDER BY place;

COMMENT ON VIEW bit.lead_funnel IS
    'From rows to contacts, slots and golden records: how many of each there are, in that order';
COMMENT ON COLUMN bit.lead_funnel.stage IS 'What is counted';
COMMENT ON COLUMN bit.lead_funnel.count IS 'How many there are';
