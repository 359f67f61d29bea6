-- What campaigns and sources came to, and whose the conversions are.

-- Each campaign is read along its own rows of an index, of which it has one a message that something was heard of:
-- so one campaign costs what it has, and all cost one reading of all. The counters are those of the campaigns, which
-- equal the messages in every snapshot.
CREATE VIEW bit.campaign_performance
WITH (security_invoker = true)
AS
SELECT c.campaign_id, c.name, c.type, c.status, c.target_count, c.sent_count, m.opened_count, c.response_count,
       m.bounced_count, v.conversion_count, v.conversion_value,
       round(100.0 * m.opened_count / nullif(c.sent_count, 0), 2) AS open_rate,
       round(100.0 * c.response_count / nullif(c.sent_count, 0), 2) AS response_rate,
       round(100.0 * m.bounced_count / nullif(c.sent_count, 0), 2) AS bounce_rate,
       c.created_at, c.started_at, c.ended_at
FROM marketing.campaigns AS c
CROSS JOIN LATERAL (
    SELECT count(o.opened_at) AS opened_count, count(*) FILTER (WHERE o.bounced) AS bounced_count
    FROM bit.message_outcomes AS o
    WHERE o.campaign_id = c.campaign_id AND o.status <> 'sent'
) AS m
CROSS JOIN LATERAL (
    SELECT count(*) AS conversion_count, coalesce(sum(a.value), 0) AS conversion_value
    FROM marketing.attribution AS a
    WHERE a.campaign_id = c.campaign_id
) AS v;

COMMENT ON VIEW bit.campaign_performance IS 'What each campaign came to';
COMMENT ON COLUMN bit.campaign_performance.campaign_id IS 'The campaign';
COMMENT ON COLUMN bit.campaign_performance.name IS 'Its name';
COMMENT ON COLUMN bit.campaign_performance.type IS 'Its type (cold_outreach, nurture, follow_up)';
COMMENT ON COLUMN bit.campaign_performance.status IS 'Its state (draft, active, paused, completed)';
COMMENT ON COLUMN bit.campaign_performance.target_count IS 'How many people it is to reach';
COMMENT ON COLUMN bit.campaign_performance.sent_count IS 'How many messages it sent';
COMMENT ON COLUMN bit.campaign_performance.opened_count IS 'How many of them were opened';
COMMENT ON COLUMN bit.campaign_performance.response_count IS 'How many of them were replied to';
COMMENT ON COLUMN bit.campaign_performance.bounced_count IS 'How many of them bounced';
COMMENT ON COLUMN bit.campaign_performance.conversion_count IS 'How many conversions are credited to it';
COMMENT ON COLUMN bit.campaign_performance.conversion_value IS 'The sum of their values';
COMMENT ON COLUMN bit.campaign_performance.open_rate IS 'Opened in percent of sent; NULL where nothing was sent';
COMMENT ON COLUMN bit.campaign_performance.response_rate IS
    'Replied to in percent of sent; NULL where nothing was sent';
COMMENT ON COLUMN bit.campaign_performance.bounce_rate IS 'Bounced in percent of sent; NULL where nothing was sent';
COMMENT ON COLUMN bit.campaign_performance.created_at IS 'When it was made';
COMMENT ON COLUMN bit.campaign_performance.started_at IS 'When it was started';
COMMENT ON COLUMN bit.campaign_performance.ended_at IS 'When it was completed';

-- Rows are of the source that sent them. A contact is of the source that brought it first, and so is what came of
-- it: none of these counts is above `promoted`. Only the few messages that bounced or were replied to are followed to
-- their contact, found along the index of what is not merely sent.
CREATE VIEW bit.source_quality
WITH (security_invoker = true)
AS
WITH received AS (
    SELECT b.source, sum(l.accepted)::bigint AS accepted, sum(l.duplicate)::bigint AS duplicate,
           sum(l.rejected)::bigint AS rejected
    FROM intake.batches AS b
    JOIN intake.batch_lanes AS l USING (batch_id)
    -- The lanes below hold the rows that were staged for companies and people.
    WHERE l.lane >= -1
    GROUP BY b.source
), promoted AS (
    SELECT source, count(*) AS promoted FROM vault.contacts GROUP BY source
), people AS (
    SELECT h.person_id, bool_or(h.bounced) AS bounced, bool_or(h.replied) AS replied,
           bool_or(h.converted) AS converted
    FROM (
        SELECT person_id, bounced, replied_at IS NOT NULL, false
        FROM bit.message_outcomes
        WHERE status IN ('bounced', 'replied')
        UNION ALL
        SELECT person_id, false, false, true FROM marketing.attribution
    ) AS h (person_id, bounced, replied, converted)
    GROUP BY h.person_id
), outcomes AS (
    SELECT c.source, count(*) FILTER (WHERE p.bounced) AS bounced, count(*) FILTER (WHERE p.replied) AS replied,
           count(*) FILTER (WHERE p.converted) AS converted
    FROM people AS p
    JOIN people.master AS m ON m.id = p.person_id
    JOIN vault.contacts AS c ON c.email = m.email
    GROUP BY c.source
)
SELECT source, coalesce(r.accepted + r.duplicate + r.rejected, 0) AS received, coalesce(r.accepted, 0) AS accepted,
       coalesce(r.duplicate, 0) AS duplicate, coalesce(r.rejected, 0) AS rejected,
       coalesce(c.promoted, 0) AS promoted, coalesce(o.bounced, 0) AS bounced, coalesce(o.replied, 0) AS replied,
       coalesce(o.converted, 0) AS converted
FROM received AS r
FULL JOIN promoted AS c USING (source)
LEFT JOIN outcomes AS o USING (source);

COMMENT ON VIEW bit.source_quality IS 'What came of the rows of each source';
COMMENT ON COLUMN bit.source_quality.source IS 'The source';
COMMENT ON COLUMN bit.source_quality.received IS 'Rows that it sent: accepted, duplicate and rejected together';
COMMENT ON COLUMN bit.source_quality.accepted IS 'Rows that were accepted';
COMMENT ON COLUMN bit.source_quality.duplicate IS 'Rows whose email was accepted within the duplicate window';
COMMENT ON COLUMN bit.source_quality.rejected IS 'Rows that were not stored';
COMMENT ON COLUMN bit.source_quality.promoted IS 'Contacts that it brought: whose first load was its';
COMMENT ON COLUMN bit.source_quality.bounced IS 'How many of these contacts had a message that bounced';
COMMENT ON COLUMN bit.source_quality.replied IS 'How many of these contacts replied to a message';
COMMENT ON COLUMN bit.source_quality.converted IS 'How many of these contacts converted';

-- Two steps into an index a conversion. The other models share a credit among all touches: GetAttributionReport.
CREATE VIEW bit.attribution
WITH (security_invoker = true)
AS
SELECT a.id, a.person_id, a.campaign_id, a.conversion_type, a.converted_at, a.value,
       f.outreach_id AS first_touch_id, f.campaign_id AS first_touch_campaign_id, f.channel AS first_touch_channel,
       f.touched_at AS first_touch_at,
       l.outreach_id AS last_touch_id, l.campaign_id AS last_touch_campaign_id, l.channel AS last_touch_channel,
       l.touched_at AS last_touch_at
FROM marketing.attribution AS a
LEFT JOIN LATERAL (
    SELECT t.outreach_id, t.campaign_id, t.channel, t.touched_at
    FROM marketing.touches AS t
    WHERE t.person_id = a.person_id AND t.kind = 'sent' AND t.touched_at <= a.converted_at
    ORDER BY t.touched_at, t.outreach_id
    LIMIT 1) AS f ON true
LEFT JOIN LATERAL (
    SELECT t.outreach_id, t.campaign_id, t.channel, t.touched_at
    FROM marketing.touches AS t
    WHERE t.person_id = a.person_id AND t.kind = 'sent' AND t.touched_at <= a.converted_at
    ORDER BY t.touched_at DESC, t.outreach_id DESC
    LIMIT 1) AS l ON true;

COMMENT ON VIEW bit.attribution IS
    'The first and the last touch before each conversion; both are NULL where there was none';
COMMENT ON COLUMN bit.attribution.id IS 'The conversion';
COMMENT ON COLUMN bit.attribution.person_id IS 'Who converted';
COMMENT ON COLUMN bit.attribution.campaign_id IS 'The campaign that the caller credits, if any';
COMMENT ON COLUMN bit.attribution.conversion_type IS 'What it is (meeting, demo, signup, sale)';
COMMENT ON COLUMN bit.attribution.converted_at IS 'When it was';
COMMENT ON COLUMN bit.attribution.value IS 'What it is worth; NULL where it has no value';
COMMENT ON COLUMN bit.attribution.first_touch_id IS 'The first touch: a message';
COMMENT ON COLUMN bit.attribution.first_touch_campaign_id IS 'The campaign of the first touch, if it has one';
COMMENT ON COLUMN bit.attribution.first_touch_channel IS 'The channel of the first touch';
COMMENT ON COLUMN bit.attribution.first_touch_at IS 'When the first touch was sent';
COMMENT ON COLUMN bit.attribution.last_touch_id IS 'The last touch: a message';
COMMENT ON COLUMN bit.attribution.last_touch_campaign_id IS 'The campaign of the last touch, if it has one';
COMMENT ON COLUMN bit.attribution.last_touch_channel IS 'The channel of the last touch';
COMMENT ON COLUMN bit.attribution.last_touch_at IS 'When the last touch was sent';
