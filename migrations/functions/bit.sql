-- What the ledgers add up to, for people and dashboards.

-- What came of each message. One place says what a bounce is: a message that was replied to after it bounced has
-- the status of the reply, and its bounce is among the events; one that was written by hand may have the status
-- without an event, and counts from its sending. The events are looked at only where the status leaves it open.
CREATE VIEW bit.message_outcomes
WITH (security_invoker = true)
AS
SELECT o.id, o.person_id, o.campaign_id, o.channel, o.status, o.sent_at, o.opened_at, o.replied_at,
       o.status = 'bounced' OR o.status = 'replied' AND EXISTS (
           SELECT FROM marketing.engagement_events AS e WHERE e.outreach_id = o.id AND e.kind = 'bounced') AS bounced,
       CASE WHEN o.status IN ('bounced', 'replied') THEN coalesce(
           (SELECT min(e.occurred_at)
            FROM marketing.engagement_events AS e
            WHERE e.outreach_id = o.id AND e.kind = 'bounced'),
           CASE o.status WHEN 'bounced' THEN o.sent_at END)
       END AS bounced_at
FROM marketing.outreach_history AS o;

COMMENT ON VIEW bit.message_outcomes IS 'What came of each message';
COMMENT ON COLUMN bit.message_outcomes.id IS 'The message';
COMMENT ON COLUMN bit.message_outcomes.person_id IS 'To whom it went';
COMMENT ON COLUMN bit.message_outcomes.campaign_id IS 'Its campaign, if it has one';
COMMENT ON COLUMN bit.message_outcomes.channel IS 'Its channel (email, linkedin, phone)';
COMMENT ON COLUMN bit.message_outcomes.status IS 'What became of it (sent, opened, bounced, replied)';
COMMENT ON COLUMN bit.message_outcomes.sent_at IS 'When it was sent';
COMMENT ON COLUMN bit.message_outcomes.opened_at IS 'When it was first opened, if it was';
COMMENT ON COLUMN bit.message_outcomes.replied_at IS 'When it was first replied to, if it was';
COMMENT ON COLUMN bit.message_outcomes.bounced IS 'Whether it bounced, also where a reply came later';
COMMENT ON COLUMN bit.message_outcomes.bounced_at IS 'When it first bounced, if it did';

-- The way from the rows that came in to golden records, and on to conversions. Read from the ledgers, so that it
-- shows what is, not what some run said: each is counted once, along an index where one has what is counted. What
-- is neither pending nor rejected is validated, since there is no fourth. Who reads it needs to be allowed to read
-- these.
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
), slots AS MATERIALIZED (
    SELECT (SELECT count(*) FROM company.slot) AS staged,
           (SELECT count(*) FROM company.slot WHERE validation_status = 'pending') AS pending,
           (SELECT count(*) FROM company.slot WHERE validation_status = 'rejected') AS rejected
), person_slots AS MATERIALIZED (
    SELECT (SELECT count(*) FROM people.slot) AS staged,
           (SELECT count(*) FROM people.slot WHERE validation_status = 'pending') AS pending,
           (SELECT count(*) FROM people.slot WHERE validation_status = 'rejected') AS rejected
), people AS (
    SELECT count(*) AS people, count(company_id) AS linked FROM people.master
), messages AS (
    SELECT count(*) AS sent, count(opened_at) AS opened, count(replied_at) AS replied,
           (SELECT count(*) FROM bit.message_outcomes WHERE status IN ('bounced', 'replied') AND bounced) AS bounced
    FROM marketing.outreach_history
), conversions AS (
    SELECT count(*) AS conversions, count(DISTINCT person_id) AS people FROM marketing.attribution
), stages AS (
    SELECT s.place, s.stage, s.count
    FROM received AS r, slots AS c, person_slots AS p, people AS g, messages AS m, conversions AS v,
    LATERAL (VALUES
        (1, 'rows received', r.accepted + r.duplicate + r.rejected),
        (2, 'rows accepted', r.accepted),
        (3, 'rows duplicate', r.duplicate),
        (4, 'rows rejected', r.rejected),
        (5, 'contacts', (SELECT count(*) FROM vault.contacts)),
        (6, 'company slots', c.staged),
        (7, 'company slots validated', c.staged - c.pending - c.rejected),
        (8, 'company slots rejected', c.rejected),
        (9, 'companies', (SELECT count(*) FROM company.master)),
        (10, 'person slots', p.staged),
        (11, 'person slots validated', p.staged - p.pending - p.rejected),
        (12, 'person slots rejected', p.rejected),
        (13, 'people', g.people),
        (14, 'people linked to a company', g.linked),
        (15, 'messages sent', m.sent),
        (16, 'messages opened', m.opened),
        (17, 'messages bounced', m.bounced),
        (18, 'messages replied to', m.replied),
        (19, 'conversions', v.conversions),
        (20, 'people converted', v.people)
    ) AS s (place, stage, count)
)
SELECT stage, count FROM stages ORDER BY place;

COMMENT ON VIEW bit.lead_funnel IS
    'From rows to contacts, slots, golden records, messages and conversions: how many of each there are, in that order';
COMMENT ON COLUMN bit.lead_funnel.stage IS 'What is counted';
COMMENT ON COLUMN bit.lead_funnel.count IS 'How many there are';

-- How much work waits, and since when: cheap at any size, since each state is counted by an index and up to a
-- bound, beyond which it is simply much. The oldest load is the first by number: a load that is retried keeps its own.
CREATE VIEW bit.queue_depths
WITH (security_invoker = true)
AS
SELECT 'loads'::text AS queue, 'pending'::text AS state,
       (SELECT count(*)
        FROM (SELECT FROM intake.raw_loads AS l WHERE l.status = 'pending' LIMIT 100000) AS counted) AS depth,
       (SELECT l.created_at
        FROM intake.raw_loads AS l
        WHERE l.status = 'pending'
        ORDER BY l.load_id
        LIMIT 1) AS oldest_at
UNION ALL
SELECT 'company_slots', 'pending',
       (SELECT count(*)
        FROM (SELECT FROM company.slot AS s WHERE s.validation_status = 'pending' LIMIT 100000) AS counted),
       (SELECT s.created_at
        FROM company.slot AS s
        WHERE s.validation_status = 'pending'
        ORDER BY s.slot_number
        LIMIT 1)
UNION ALL
SELECT 'person_slots', 'pending',
       (SELECT count(*)
        FROM (SELECT FROM people.slot AS s WHERE s.validation_status = 'pending' LIMIT 100000) AS counted),
       (SELECT s.created_at
        FROM people.slot AS s
        WHERE s.validation_status = 'pending'
        ORDER BY s.slot_number
        LIMIT 1)
UNION ALL
SELECT 'enrichment', states.state, counted.depth, NULL
FROM (VALUES ('queued'), ('leased'), ('completed'), ('dead'), ('suppressed')) AS states (state)
CROSS JOIN LATERAL (
    SELECT count(*) AS depth
    FROM (SELECT FROM ple.enrichment_queue AS q WHERE q.state = states.state LIMIT 100000) AS bounded
) AS counted;

COMMENT ON VIEW bit.queue_depths IS 'How much work waits in each queue, counted up to 100,000, and since when';
COMMENT ON COLUMN bit.queue_depths.queue IS 'The queue: loads, company_slots, person_slots or enrichment';
COMMENT ON COLUMN bit.queue_depths.state IS 'The state of what is counted';
COMMENT ON COLUMN bit.queue_depths.depth IS 'How many there are in that state, 100,000 at the most';
COMMENT ON COLUMN bit.queue_depths.oldest_at IS 'Since when the oldest of them waits; not known of enrichment';
