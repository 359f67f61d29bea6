-- What providers tell of messages, and what follows from it.
--
-- Everything that follows is a function of the set of events: no order and no repetition makes a difference.

-- How far a status has come: it only rises.
CREATE FUNCTION marketing.f_status_rank(p_status text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_position(ARRAY['sent', 'opened', 'bounced', 'replied'], p_status);

COMMENT ON FUNCTION marketing.f_status_rank(text) IS 'How far the status of a message has come: it only rises';

-- Brings messages to what their new events say: a status rises, a time moves to the earliest seen. What is there
-- already is not touched.
CREATE FUNCTION marketing.f_follow_events(p_event_ids text[])
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH told AS (
        SELECT e.outreach_id,
               min(e.occurred_at) FILTER (WHERE e.kind = 'opened') AS opened_at,
               min(e.occurred_at) FILTER (WHERE e.kind = 'replied') AS replied_at,
               (array_agg(e.kind ORDER BY marketing.f_status_rank(e.kind) DESC))[1] AS status
        FROM marketing.engagement_events AS e
        WHERE e.event_id = ANY (p_event_ids)
        GROUP BY e.outreach_id
    ), moved AS (
        SELECT o.id, least(o.opened_at, t.opened_at) AS opened_at, least(o.replied_at, t.replied_at) AS replied_at,
               CASE WHEN marketing.f_status_rank(t.status) > marketing.f_status_rank(o.status) THEN t.status
                    ELSE o.status END AS status
        FROM told AS t
        JOIN marketing.outreach_history AS o ON o.id = t.outreach_id
    )
    UPDATE marketing.outreach_history AS o
    SET opened_at = m.opened_at, replied_at = m.replied_at, status = m.status
    FROM moved AS m
    WHERE o.id = m.id
      AND (o.opened_at, o.replied_at, o.status) IS DISTINCT FROM (m.opened_at, m.replied_at, m.status)
$$;

COMMENT ON FUNCTION marketing.f_follow_events(text[]) IS 'Brings messages to what their new events say';

-- Moves the last activity of the contacts who opened or replied forward, never back. Their status, and the time of
-- their last change, which an editor's etag holds, are not its business.
CREATE FUNCTION marketing.f_follow_activity(p_event_ids text[], p_actor text)
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH active AS (
        SELECT p.email, max(e.occurred_at) AS seen_at
        FROM marketing.engagement_events AS e
        JOIN marketing.outreach_history AS o ON o.id = e.outreach_id
        JOIN people.master AS p ON p.id = o.person_id
        WHERE e.event_id = ANY (p_event_ids) AND e.kind IN ('opened', 'replied')
        GROUP BY p.email
    ), moved AS (
        SELECT c.contact_id, c.last_activity_at AS old_time, a.seen_at AS new_time
        FROM active AS a
        JOIN vault.contacts AS c ON c.email = a.email
        WHERE c.last_activity_at IS NULL OR c.last_activity_at < a.seen_at
    ), updated AS (
        UPDATE vault.contacts AS c
        SET last_activity_at = m.new_time
        FROM moved AS m
        WHERE c.contact_id = m.contact_id
    )
    INSERT INTO intake.audit_log (action, contact_id, details, "timestamp")
    SELECT 'contact_updated', m.contact_id,
           jsonb_build_object('actor', p_actor,
                              'old_values', jsonb_build_object('last_activity_at', m.old_time),
                              'new_values', jsonb_build_object('last_activity_at', m.new_time)),
           clock_timestamp()
    FROM moved AS m
    ORDER BY m.contact_id
$$;

COMMENT ON FUNCTION marketing.f_follow_activity(text[], text) IS
    'Moves the last activity of the contacts who opened or replied forward';

-- Of new soft bounces those that end a row of p_limit, for the address and channel that it speaks of.
--
-- A row is made of consecutive messages, in the order of sending, to one person over one channel, each of which
-- bounced softly; its length is the number of those bounces. What was sent before somebody lifted a bounce of that
-- channel, with evidence that mail gets through again, is out of it.
CREATE FUNCTION marketing.f_soft_bounces_in_a_row(p_event_ids text[], p_limit integer)
RETURNS TABLE (event_id text, outreach_id uuid, email text, channel text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH bounced AS (
        SELECT DISTINCT p.id AS person_id, p.email, o.channel
        FROM marketing.engagement_events AS e
        JOIN marketing.outreach_history AS o ON o.id = e.outreach_id
        JOIN people.master AS p ON p.id = o.person_id
        WHERE e.event_id = ANY (p_event_ids) AND e.bounce_type = 'soft'
    ), messages AS (
        SELECT b.email, b.channel, b.person_id, o.id, o.sent_at, s.bounces, s.event_id,
               count(*) FILTER (WHERE s.bounces = 0)
                   OVER (PARTITION BY b.person_id, b.channel ORDER BY o.sent_at, o.id) AS stretch
        FROM bounced AS b
        JOIN marketing.outreach_history AS o ON o.person_id = b.person_id AND o.channel = b.channel
        CROSS JOIN LATERAL (
            SELECT count(*) AS bounces, min(e.event_id) FILTER (WHERE e.event_id = ANY (p_event_ids)) AS event_id
            FROM marketing.engagement_events AS e
            WHERE e.outreach_id = o.id AND e.kind = 'bounced' AND e.bounce_type = 'soft') AS s
        WHERE o.sent_at > coalesce(
            (SELECT max(l.lifted_at) FROM vault.suppressions AS l
             WHERE l.email = b.email AND l.reason = 'bounced' AND l.scope IN ('all', b.channel)), '-infinity')
    )
    SELECT (array_agg(m.event_id ORDER BY m.sent_at DESC, m.id DESC) FILTER (WHERE m.event_id IS NOT NULL))[1],
           (array_agg(m.id ORDER BY m.sent_at DESC, m.id DESC) FILTER (WHERE m.event_id IS NOT NULL))[1],
           m.email, m.channel
    FROM messages AS m
    WHERE m.bounces > 0
    GROUP BY m.person_id, m.email, m.channel, m.stretch
    HAVING sum(m.bounces) >= p_limit AND count(m.event_id) > 0
$$;

COMMENT ON FUNCTION marketing.f_soft_bounces_in_a_row(text[], integer) IS
    'Of new soft bounces those that end a row, and the address and channel that it speaks of';

-- Enters the addresses that bounced for good, or softly too often, into the ledger; under its lock.
CREATE FUNCTION marketing.f_suppress_bounced(p_event_ids text[], p_soft_bounce_limit integer, p_actor text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_emails    text[];
    v_channels  text[];
    v_evidences text[];
BEGIN
    SELECT array_agg(b.email ORDER BY b.email, b.channel), array_agg(b.channel ORDER BY b.email, b.channel),
           array_agg(b.evidence ORDER BY b.email, b.channel)
    INTO v_emails, v_channels, v_evidences
    FROM (SELECT DISTINCT ON (t.email, t.channel) t.email, t.channel, t.evidence
          FROM (SELECT p.email, o.channel, 1 AS weight,
                       format('hard bounce of message %s, event %s', o.id, left(e.event_id, 200)) AS evidence
                FROM marketing.engagement_events AS e
                JOIN marketing.outreach_history AS o ON o.id = e.outreach_id
                JOIN people.master AS p ON p.id = o.person_id
                WHERE e.event_id = ANY (p_event_ids) AND e.bounce_type = 'hard'
                UNION ALL
                SELECT r.email, r.channel, 2,
                       format('%s soft bounces in a row, the last of message %s, event %s',
                              p_soft_bounce_limit, r.outreach_id, left(r.event_id, 200))
                FROM marketing.f_soft_bounces_in_a_row(p_event_ids, p_soft_bounce_limit) AS r) AS t
          -- A person who was written past the service may have an address that the ledger does not take.
          WHERE (intake.f_normalize_email(t.email)).email = t.email
          ORDER BY t.email, t.channel, t.weight, t.evidence) AS b;
    IF v_emails IS NOT NULL THEN
        PERFORM vault.f_suppress(
            v_emails, v_channels, array_fill('bounced'::text, ARRAY[cardinality(v_emails)]), v_evidences, p_actor);
    END IF;
END
$$;

COMMENT ON FUNCTION marketing.f_suppress_bounced(text[], integer, text) IS
    'Enters the addresses that bounced for good, or softly too often, into the ledger';

-- Why events cannot be recorded, in their order, NULL where they can: of messages that are known, and when those were
-- sent. Both may be many, and nothing is read from a table: hashed, whatever the caller says of joins.
CREATE FUNCTION marketing.f_refusals_of_events(
    p_outreach_ids uuid[], p_times timestamptz[], p_messages uuid[], p_sent_at timestamptz[], p_now timestamptz)
RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    SELECT array_agg(
               CASE WHEN m.id IS NULL THEN 'outreach_unknown'
                    WHEN i.occurred_at > p_now + interval '5 minutes' THEN 'in_future'
                    WHEN i.occurred_at < m.sent_at - interval '5 minutes' THEN 'before_sent' END
               ORDER BY i.nth)
    FROM unnest(p_outreach_ids, p_times) WITH ORDINALITY AS i (outreach_id, occurred_at, nth)
    LEFT JOIN unnest(p_messages, p_sent_at) AS m (id, sent_at) ON m.id = i.outreach_id
$$;

COMMENT ON FUNCTION marketing.f_refusals_of_events(uuid[], timestamptz[], uuid[], timestamptz[], timestamptz) IS
    'Why events of messages cannot be recorded, in their order';

-- Records events. One row each comes back in order: `recorded`, `duplicate`, or why it is refused. Of an id that is
-- named twice the first that can be recorded is.
--
-- Only a bounce may write the ledger, so only a call that has one takes its lock. The messages are looked up once:
-- those that are found then are locked, with their campaigns, and all that is decided is decided of these. Contacts are locked once for
-- everything that follows: whoever comes by another way takes them in the same order.
CREATE FUNCTION marketing.f_record_engagements(
    p_event_ids text[], p_outreach_ids uuid[], p_kinds text[], p_bounce_types text[], p_times timestamptz[],
    p_soft_bounce_limit integer, p_actor text)
RETURNS TABLE (result text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As marketing.f_record_outreach: a plan that was made while there was little would read all there is for each call.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_now       timestamptz;
    v_messages  uuid[];
    v_campaigns uuid[];
    v_sent_at   timestamptz[];
    v_refusals  text[];
    v_new       text[];
BEGIN
    IF 'bounced' = ANY (p_kinds) THEN
        PERFORM vault.f_lock_ledger();
    END IF;
    SELECT array_agg(o.id), array_agg(DISTINCT o.campaign_id)
    INTO STRICT v_messages, v_campaigns
    FROM marketing.outreach_history AS o
    WHERE o.id = ANY (p_outreach_ids);
    PERFORM marketing.f_lock_campaigns(v_campaigns);
    SELECT array_agg(l.id), array_agg(l.sent_at)
    INTO STRICT v_messages, v_sent_at
    FROM (SELECT o.id, o.sent_at
          FROM marketing.outreach_history AS o
          WHERE o.id = ANY (v_messages)
          ORDER BY o.id
          FOR NO KEY UPDATE) AS l;
    v_now := clock_timestamp();

    v_refusals := marketing.f_refusals_of_events(p_outreach_ids, p_times, v_messages, v_sent_at, v_now);

    WITH inserted AS (
        INSERT INTO marketing.engagement_events (event_id, outreach_id, kind, bounce_type, occurred_at, recorded_at)
        SELECT DISTINCT ON (i.event_id) i.event_id, i.outreach_id, i.kind, i.bounce_type, i.occurred_at, v_now
        FROM unnest(p_event_ids, p_outreach_ids, p_kinds, p_bounce_types, p_times, v_refusals) WITH ORDINALITY
            AS i (event_id, outreach_id, kind, bounce_type, occurred_at, refusal, nth)
        WHERE i.refusal IS NULL
        ORDER BY i.event_id, i.nth
        ON CONFLICT (event_id) DO NOTHING
        RETURNING event_id
    )
    SELECT coalesce(array_agg(n.event_id), '{}') INTO STRICT v_new FROM inserted AS n;

    IF cardinality(v_new) > 0 THEN
        PERFORM marketing.f_follow_events(v_new);
        PERFORM 1 FROM vault.contacts AS c
        WHERE c.email IN (
            SELECT p.email
            FROM marketing.engagement_events AS e
            JOIN marketing.outreach_history AS o ON o.id = e.outreach_id
            JOIN people.master AS p ON p.id = o.person_id
            WHERE e.event_id = ANY (v_new))
        ORDER BY c.email
        FOR UPDATE;
        PERFORM marketing.f_follow_activity(v_new, p_actor);
        PERFORM marketing.f_suppress_bounced(v_new, p_soft_bounce_limit, p_actor);
    END IF;

    -- Where nothing refuses and nothing is recorded, somebody had the id and deleted it just now.
    RETURN QUERY
    SELECT CASE WHEN e.event_id IS NULL THEN coalesce(i.refusal, 'event_id_conflict')
                WHEN (e.outreach_id, e.kind, e.occurred_at) IS DISTINCT FROM (i.outreach_id, i.kind, i.occurred_at)
                     OR e.bounce_type IS DISTINCT FROM i.bounce_type THEN 'event_id_conflict'
                WHEN e.event_id = ANY (v_new) AND i.nth_of_it = 1 THEN 'recorded'
                ELSE 'duplicate' END
    FROM (SELECT i.*,
                 row_number() OVER (PARTITION BY i.event_id, i.outreach_id, i.kind, i.bounce_type, i.occurred_at
                                    ORDER BY i.nth) AS nth_of_it
          FROM unnest(p_event_ids, p_outreach_ids, p_kinds, p_bounce_types, p_times, v_refusals) WITH ORDINALITY
              AS i (event_id, outreach_id, kind, bounce_type, occurred_at, refusal, nth)) AS i
    LEFT JOIN marketing.engagement_events AS e ON e.event_id = i.event_id
    ORDER BY i.nth;
END
$$;

COMMENT ON FUNCTION marketing.f_record_engagements(text[], uuid[], text[], text[], timestamptz[], integer, text) IS
    'Records the events of providers; messages, contacts and the ledger follow. One row each, in order';

GRANT EXECUTE ON FUNCTION marketing.f_record_engagements TO leadvault_app;
