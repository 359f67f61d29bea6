-- Campaigns: their history, their etag, the lock that orders what happens to them, and their moves.
--
-- Locks are taken in one order: the ledger's advisory lock, those of campaigns by their keys, messages by id,
-- contacts by email, people by id. Whoever moves a campaign, changes it or sends under it holds its advisory lock:
-- its row, which every message counts on, is then never waited for, and a hundred senders stand in a short line
-- instead of queueing at the row (a tenth of the rate).

-- The number of campaigns among the advisory locks of two keys.
CREATE FUNCTION marketing.f_campaign_locks()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 730500 $$;

COMMENT ON FUNCTION marketing.f_campaign_locks() IS 'The first key of the advisory locks of campaigns';

-- Takes the locks of campaigns, in the order of their keys: two campaigns may share one, which only makes them
-- wait for each other. What is decided under them is decided in later statements.
CREATE FUNCTION marketing.f_lock_campaigns(p_campaign_ids uuid[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key integer;
BEGIN
    FOR v_key IN
        SELECT DISTINCT uuid_hash(c.campaign_id) AS key
        FROM unnest(p_campaign_ids) AS c (campaign_id)
        WHERE c.campaign_id IS NOT NULL
        ORDER BY key
    LOOP
        PERFORM pg_advisory_xact_lock(marketing.f_campaign_locks(), v_key);
    END LOOP;
END
$$;

COMMENT ON FUNCTION marketing.f_lock_campaigns(uuid[]) IS
    'Takes the advisory locks of campaigns until the transaction ends';

-- The columns of a campaign that its history keeps. Not its counters: they are bookkeeping.
CREATE FUNCTION marketing.f_campaign_image(p_campaign marketing.campaigns)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
    'name', p_campaign.name, 'type', p_campaign.type, 'status', p_campaign.status,
    'target_count', p_campaign.target_count, 'started_at', p_campaign.started_at, 'ended_at', p_campaign.ended_at);

COMMENT ON FUNCTION marketing.f_campaign_image(marketing.campaigns) IS
    'The columns of a campaign that its history keeps';

-- The fingerprint of a campaign. Times as numbers, since their text depends on the session's time zone. With the
-- number of its changes, so that a value which changed and changed back is noticed. Who changes a campaign asks in
-- a later statement: in the same one that number is the older.
CREATE FUNCTION marketing.f_campaign_etag(p_campaign marketing.campaigns)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT md5(jsonb_build_array(
        p_campaign.campaign_id, p_campaign.name, p_campaign.type, p_campaign.status, p_campaign.target_count,
        extract(epoch FROM p_campaign.created_at), extract(epoch FROM p_campaign.started_at),
        extract(epoch FROM p_campaign.ended_at),
        (SELECT max(h.history_id) FROM marketing.campaign_history AS h
         WHERE h.campaign_id = p_campaign.campaign_id))::text)
$$;

COMMENT ON FUNCTION marketing.f_campaign_etag(marketing.campaigns) IS
    'The fingerprint of a campaign''s content, without its counters';

-- The history of campaigns, written by the database itself.
CREATE FUNCTION marketing.f_write_campaign_history()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_actor text := coalesce(nullif(current_setting('leadvault.actor', true), ''), session_user);
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO marketing.campaign_history
            (campaign_id, changed_fields, old_values, new_values, changed_by)
        SELECT made.campaign_id, (SELECT jsonb_agg(k.key) FROM jsonb_object_keys(made.image) AS k (key)), '{}',
               made.image, v_actor
        FROM (SELECT n.campaign_id,
                     jsonb_strip_nulls(marketing.f_campaign_image(ROW(n.*)::marketing.campaigns)) AS image
              FROM new_rows AS n) AS made
        ORDER BY made.campaign_id;
    ELSE
        INSERT INTO marketing.campaign_history
            (campaign_id, changed_fields, old_values, new_values, changed_by)
        SELECT changed.campaign_id, d.fields, d.old_values, d.new_values, v_actor
        FROM (SELECT n.campaign_id,
                     marketing.f_campaign_image(ROW(o.*)::marketing.campaigns) AS old_image,
                     marketing.f_campaign_image(ROW(n.*)::marketing.campaigns) AS new_image
              FROM new_rows AS n JOIN old_rows AS o USING (campaign_id)) AS changed
        CROSS JOIN LATERAL (
            SELECT jsonb_agg(e.key) AS fields, jsonb_object_agg(e.key, changed.old_image -> e.key) AS old_values,
                   jsonb_object_agg(e.key, e.value) AS new_values
            FROM jsonb_each(changed.new_image) AS e
            WHERE e.value <> changed.old_image -> e.key) AS d
        WHERE changed.old_image <> changed.new_image
        ORDER BY changed.campaign_id;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marketing.f_write_campaign_history() IS 'Writes the history of campaigns';

CREATE TRIGGER campaigns_insert_history
    AFTER INSERT ON marketing.campaigns
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION marketing.f_write_campaign_history();

CREATE TRIGGER campaigns_update_history
    AFTER UPDATE ON marketing.campaigns
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION marketing.f_write_campaign_history();

-- Makes a campaign, or finds the one that has the id: `created`, `exists` where it was made with the same values,
-- which its history knows, whatever became of them since, else `conflict`.
CREATE FUNCTION marketing.f_create_campaign(
    p_campaign_id uuid, p_name text, p_type text, p_target_count integer, p_actor text)
RETURNS TABLE (outcome text, campaign marketing.campaigns, etag text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_made jsonb;
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    INSERT INTO marketing.campaigns AS c (campaign_id, name, type, target_count, created_at)
    VALUES (p_campaign_id, p_name, p_type, p_target_count, clock_timestamp())
    ON CONFLICT (campaign_id) DO NOTHING
    RETURNING c.* INTO campaign;
    IF FOUND THEN
        outcome := 'created';
        etag := marketing.f_campaign_etag(campaign);
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT c.* INTO STRICT campaign FROM marketing.campaigns AS c WHERE c.campaign_id = p_campaign_id;
    v_made := coalesce(
        (SELECT h.new_values FROM marketing.campaign_history AS h
         WHERE h.campaign_id = p_campaign_id
         ORDER BY h.history_id
         LIMIT 1),
        marketing.f_campaign_image(campaign));
    outcome := CASE WHEN (v_made ->> 'name', v_made ->> 'type') = (p_name, p_type)
                         AND (v_made ->> 'target_count')::integer IS NOT DISTINCT FROM p_target_count THEN 'exists'
                    ELSE 'conflict' END;
    PERFORM intake.f_commit_as_write();
    etag := marketing.f_campaign_etag(campaign);
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION marketing.f_create_campaign(uuid, text, text, integer, text) IS
    'Makes a campaign, or finds the one that has its id';

-- Changes a campaign for somebody who read it: p_changes are texts by column, a null clears. No row: there is
-- none. With the outcomes etag_mismatch and not_draft nothing was done, and the campaign is as it is now.
CREATE FUNCTION marketing.f_update_campaign(p_campaign_id uuid, p_etag text, p_changes jsonb, p_actor text)
RETURNS TABLE (outcome text, campaign marketing.campaigns, etag text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_new marketing.campaigns;
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    PERFORM marketing.f_lock_campaigns(ARRAY[p_campaign_id]);
    SELECT c.* INTO campaign FROM marketing.campaigns AS c WHERE c.campaign_id = p_campaign_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_new := jsonb_populate_record(campaign, p_changes);
    IF marketing.f_campaign_etag(campaign) IS DISTINCT FROM p_etag THEN
        outcome := 'etag_mismatch';
    ELSIF v_new.type <> campaign.type AND campaign.status <> 'draft' THEN
        outcome := 'not_draft';
    ELSE
        outcome := 'updated';
        IF marketing.f_campaign_image(v_new) <> marketing.f_campaign_image(campaign) THEN
            UPDATE marketing.campaigns AS c
            SET name = v_new.name, type = v_new.type, target_count = v_new.target_count
            WHERE c.campaign_id = p_campaign_id
            RETURNING c.* INTO STRICT campaign;
        END IF;
    END IF;
    etag := marketing.f_campaign_etag(campaign);
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION marketing.f_update_campaign(uuid, text, jsonb, text) IS
    'Changes a campaign, unless it changed since the caller read it';

-- Moves a campaign to a state from one of p_from; where it is in that state nothing is done. A draft is started by
-- `active` alone, so that `resume` does not. No row: there is none. With the outcome no_such_move nothing was
-- done, and the campaign is as it is now.
CREATE FUNCTION marketing.f_move_campaign(p_campaign_id uuid, p_from text[], p_to text, p_actor text)
RETURNS TABLE (outcome text, campaign marketing.campaigns, etag text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    PERFORM marketing.f_lock_campaigns(ARRAY[p_campaign_id]);
    SELECT c.* INTO campaign FROM marketing.campaigns AS c WHERE c.campaign_id = p_campaign_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF campaign.status = p_to THEN
        outcome := 'unchanged';
    ELSIF campaign.status <> ALL (p_from) THEN
        outcome := 'no_such_move';
    ELSE
        outcome := 'moved';
        UPDATE marketing.campaigns AS c
        SET status = p_to,
            started_at = CASE WHEN p_to = 'active' THEN coalesce(c.started_at, clock_timestamp())
                              ELSE c.started_at END,
            ended_at = CASE WHEN p_to = 'completed' THEN clock_timestamp() ELSE c.ended_at END
        WHERE c.campaign_id = p_campaign_id
        RETURNING c.* INTO STRICT campaign;
    END IF;
    etag := marketing.f_campaign_etag(campaign);
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION marketing.f_move_campaign(uuid, text[], text, text) IS
    'Moves a campaign to another state, if it has that move';

GRANT EXECUTE ON FUNCTION
    marketing.f_campaign_etag, marketing.f_create_campaign, marketing.f_update_campaign, marketing.f_move_campaign
    TO leadvault_app;
