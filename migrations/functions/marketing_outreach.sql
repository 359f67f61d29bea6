-- Messages: the gate before each send, and the counters that follow them.

-- Keeps the counters of campaigns equal to their messages, whoever writes those (law 10): of the messages that a
-- statement made, changed or deleted, how many more, or fewer, each campaign has sent, and had replied to.
CREATE FUNCTION marketing.f_count_outreach()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_campaign_id uuid;
    v_sent        integer;
    v_responses   integer;
BEGIN
    FOR v_campaign_id, v_sent, v_responses IN EXECUTE
        CASE TG_OP
            WHEN 'INSERT' THEN
                'SELECT campaign_id, count(*), count(replied_at) FROM new_rows
                 WHERE campaign_id IS NOT NULL GROUP BY campaign_id ORDER BY campaign_id'
            WHEN 'DELETE' THEN
                'SELECT campaign_id, -count(*), -count(replied_at) FROM old_rows
                 WHERE campaign_id IS NOT NULL GROUP BY campaign_id ORDER BY campaign_id'
            ELSE
                'SELECT campaign_id, sum(sent), sum(responses)
                 FROM (SELECT campaign_id, 1 AS sent, (replied_at IS NOT NULL)::integer AS responses FROM new_rows
                       UNION ALL
                       SELECT campaign_id, -1, -(replied_at IS NOT NULL)::integer FROM old_rows) AS r
                 WHERE campaign_id IS NOT NULL
                 GROUP BY campaign_id
                 HAVING sum(sent) <> 0 OR sum(responses) <> 0
                 ORDER BY campaign_id'
        END
    LOOP
        UPDATE marketing.campaigns AS c
        SET sent_count = c.sent_count + v_sent, response_count = c.response_count + v_responses
        WHERE c.campaign_id = v_campaign_id;
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marketing.f_count_outreach() IS 'Keeps the counters of campaigns equal to their messages';

CREATE TRIGGER outreach_history_insert_count
    AFTER INSERT ON marketing.outreach_history
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION marketing.f_count_outreach();

CREATE TRIGGER outreach_history_update_count
    AFTER UPDATE ON marketing.outreach_history
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION marketing.f_count_outreach();

CREATE TRIGGER outreach_history_delete_count
    AFTER DELETE ON marketing.outreach_history
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION marketing.f_count_outreach();

-- Whether a person is archived. That one is inactive may be the ledger's doing, which the trail knows, or without an
-- entry its contact's, who unsubscribed: both speak of email alone, and other channels stay open. Who bounced keeps
-- that status when archived, and only the trail says it.
CREATE FUNCTION marketing.f_is_archived(p_person people.master, p_contact_status text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN p_person.status = 'active' THEN false
                WHEN vault.f_is_archived(p_person.id) THEN true
                WHEN p_person.status <> 'inactive' THEN false
                WHEN p_contact_status = 'unsubscribed' AND vault.f_suppressed_status(p_person.email) IS NULL THEN false
                ELSE coalesce(vault.f_person_status_before_ledger(p_person), 'inactive') = 'inactive' END
$$;

COMMENT ON FUNCTION marketing.f_is_archived(people.master, text) IS
    'Whether a person is archived, rather than inactive because of a suppression of email';

-- Why a person must not be written to on a channel, if so, and the ledger's entry where one says it. The strongest
-- entry is the one that CheckContactability gives: the law before a complaint, before the person's word, before
-- ours, before a bounce; then the widest, then the oldest. What no entry says the statuses do, that of the contact
-- and that of the person; but for inactive they are about email alone.
CREATE FUNCTION marketing.f_refusal_of(p_person people.master, p_channel text)
RETURNS TABLE (refusal text, suppression vault.suppressions)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN (e.entry).reason = 'bounced' THEN 'person_bounced'
                WHEN (e.entry).scope = 'all' THEN 'person_suppressed'
                WHEN (e.entry).scope = p_channel THEN 'channel_suppressed'
                WHEN p_channel = 'email' AND c.status = 'unsubscribed' THEN 'person_suppressed'
                WHEN p_channel = 'email' AND 'bounced' IN (c.status, p_person.status) THEN 'person_bounced'
                WHEN vault.f_is_gone(c.contact_id, c.status) OR marketing.f_is_archived(p_person, c.status)
                    THEN 'person_inactive' END,
           e.entry
    FROM (VALUES (p_person.email)) AS p (email)
    LEFT JOIN vault.contacts AS c ON c.email = p.email
    LEFT JOIN LATERAL (
        SELECT s AS entry FROM vault.suppressions AS s
        WHERE s.email = p.email AND s.lifted_at IS NULL AND s.scope IN ('all', p_channel)
        ORDER BY array_position(ARRAY['legal', 'complaint', 'unsubscribed', 'manual', 'bounced'], s.reason),
                 s.scope <> 'all', s.suppression_id
        LIMIT 1) AS e ON true
$$;

COMMENT ON FUNCTION marketing.f_refusal_of(people.master, text) IS
    'Why a person must not be written to on a channel, and the entry of the ledger that says so';

-- The gate. One row each comes back in order: `recorded` with the time, whether it was recorded before, or why it
-- is refused. Of an id that is named twice the first counts, and the others are its repetitions.
--
-- The ledger's lock is held shared, so that no suppression is between this decision and its commit, and those of
-- the campaigns, so that none is paused meanwhile and its counters are nobody else's. The clock is read after both.
CREATE FUNCTION marketing.f_record_outreach(
    p_ids uuid[], p_person_ids uuid[], p_campaign_ids uuid[], p_channels text[], p_message_types text[])
RETURNS TABLE (result text, replayed boolean, sent_at timestamptz, campaign_status text,
               suppression vault.suppressions)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
-- A plan that a connection made while there were few messages, and keeps, would read all of them for each call.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_now          timestamptz;
    v_refusals     text[];
    v_statuses     text[];
    v_suppressions vault.suppressions[];
    v_new          uuid[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'messages are recorded in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(vault.f_ledger_lock());
    PERFORM marketing.f_lock_campaigns(p_campaign_ids);
    v_now := clock_timestamp();

    -- Decided once: people change without these locks, and who asked again might be told another thing. The ledger
    -- is asked only where nothing else refuses, so that an entry comes only with a refusal of its own.
    SELECT array_agg(coalesce(b.refusal, r.refusal) ORDER BY i.nth), array_agg(c.status ORDER BY i.nth),
           array_agg(r.suppression ORDER BY i.nth)
    INTO STRICT v_refusals, v_statuses, v_suppressions
    FROM unnest(p_person_ids, p_campaign_ids, p_channels) WITH ORDINALITY AS i (person_id, campaign_id, channel, nth)
    LEFT JOIN marketing.campaigns AS c ON c.campaign_id = i.campaign_id
    LEFT JOIN people.master AS p ON p.id = i.person_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN i.campaign_id IS NOT NULL AND c.campaign_id IS NULL THEN 'campaign_unknown'
                    WHEN c.status <> 'active' THEN 'campaign_not_active'
                    WHEN p.id IS NULL THEN 'person_unknown' END AS refusal) AS b
    LEFT JOIN LATERAL marketing.f_refusal_of(p, i.channel) AS r ON b.refusal IS NULL;

    -- Of an id that was never recorded the first message that may be is. Another server may record the same id
    -- outside of a campaign at this moment: whoever comes second records nothing.
    WITH inserted AS (
        INSERT INTO marketing.outreach_history (id, person_id, campaign_id, channel, message_type, sent_at)
        SELECT DISTINCT ON (i.id) i.id, i.person_id, i.campaign_id, i.channel, i.message_type, v_now
        FROM unnest(p_ids, p_person_ids, p_campaign_ids, p_channels, p_message_types, v_refusals) WITH ORDINALITY
            AS i (id, person_id, campaign_id, channel, message_type, refusal, nth)
        WHERE i.refusal IS NULL
        ORDER BY i.id, i.nth
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(n.id), '{}') INTO STRICT v_new FROM inserted AS n;

    -- Where nothing refuses and nothing is recorded, somebody had the id and deleted it just now.
    RETURN QUERY
    SELECT CASE WHEN o.id IS NULL THEN coalesce(i.refusal, 'id_conflict')
                WHEN (o.person_id, o.channel, o.message_type) = (i.person_id, i.channel, i.message_type)
                     AND o.campaign_id IS NOT DISTINCT FROM i.campaign_id THEN 'recorded'
                ELSE 'id_conflict' END,
           o.id IS NOT NULL AND (o.id <> ALL (v_new) OR i.again),
           o.sent_at, i.status, CASE WHEN o.id IS NULL THEN v_suppressions[i.nth::integer] END
    FROM (SELECT i.*,
                 row_number() OVER (PARTITION BY i.id, i.person_id, i.campaign_id, i.channel, i.message_type
                                    ORDER BY i.nth) > 1 AS again
          FROM unnest(p_ids, p_person_ids, p_campaign_ids, p_channels, p_message_types, v_refusals, v_statuses)
              WITH ORDINALITY
              AS i (id, person_id, campaign_id, channel, message_type, refusal, status, nth)) AS i
    LEFT JOIN marketing.outreach_history AS o ON o.id = i.id
    ORDER BY i.nth;

    -- Not for refusals alone, which promise nothing.
    IF v_new = '{}' AND EXISTS (SELECT FROM marketing.outreach_history AS o WHERE o.id = ANY (p_ids)) THEN
        PERFORM intake.f_commit_as_write();
    END IF;
END
$$;

COMMENT ON FUNCTION marketing.f_record_outreach(uuid[], uuid[], uuid[], text[], text[]) IS
    'The gate before a send: records the messages that may go out, and says why the others may not';

GRANT EXECUTE ON FUNCTION marketing.f_record_outreach TO leadvault_app;
