-- Promotion: pending loads become contacts, or change them.
--
-- The parts are run by f_promote_loads, a chunk at a time: what cannot become a contact is refused
-- (f_fail_loads), new emails are made contacts (f_make_contacts), the others are merged (f_merge_contacts).
-- Locks as vault.sql says.

-- Refuses loads that cannot become contacts: they end as failed, with the reason, and give up their claims.
-- What intake would say of the row comes first: rows that came past its functions were not checked yet.
CREATE FUNCTION vault.f_fail_loads(p_load_ids bigint[], p_reason text, p_detail text, p_actor text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    v_claimed text[];
BEGIN
    -- Sorted, as ingestion takes them: it must not wait for us while we wait for it.
    v_claimed := ARRAY(
        SELECT held.email FROM intake.email_claims AS held
        WHERE held.load_id = ANY (p_load_ids)
          AND held.email IN (
              SELECT coalesce(l.metadata ->> 'normalized_email', l.raw_data ->> 'email')
              FROM intake.raw_loads AS l
              WHERE l.load_id = ANY (p_load_ids) AND l.status || '' = 'pending')
        ORDER BY held.email
        FOR UPDATE);
    DELETE FROM intake.email_claims AS held
    WHERE held.email = ANY (v_claimed) AND held.load_id = ANY (p_load_ids);

    WITH refused AS MATERIALIZED (
        SELECT l.load_id,
               jsonb_build_object(
                   'reason', coalesce(c.reason, p_reason),
                   'pointer', CASE WHEN c.reason IS NULL THEN '' ELSE c.pointer END,
                   'detail', CASE WHEN c.reason IS NULL THEN p_detail ELSE c.detail END) AS failure
        FROM intake.raw_loads AS l
        CROSS JOIN LATERAL intake.f_check_row(l.raw_data) AS c
        WHERE l.load_id = ANY (p_load_ids) AND l.status || '' = 'pending'
    ), failed AS (
        UPDATE intake.raw_loads AS l
        SET status = 'failed', metadata = l.metadata || jsonb_build_object('failure', r.failure)
        FROM refused AS r
        WHERE l.load_id = r.load_id
    )
    INSERT INTO intake.audit_log (action, load_id, details, "timestamp")
    SELECT 'load_failed', load_id, jsonb_build_object('actor', p_actor, 'failure', failure), clock_timestamp()
    FROM refused
    ORDER BY load_id;
END
$$;

COMMENT ON FUNCTION vault.f_fail_loads(bigint[], text, text, text) IS
    'Ends loads that cannot become contacts as failed, with the reason, and releases their claims';

-- Refuses loads that no contact can take, whether their rows are bad or their contacts would be too large;
-- how many.
CREATE FUNCTION vault.f_refuse_loads(p_load_ids bigint[], p_actor text)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(p_load_ids) > 0 THEN
        PERFORM vault.f_fail_loads(
            p_load_ids, 'CONTACT_TOO_LARGE',
            'the contact would have more than 1 MiB of custom fields or more than 1000 tags', p_actor);
    END IF;
    RETURN cardinality(p_load_ids);
END
$$;

COMMENT ON FUNCTION vault.f_refuse_loads(bigint[], text) IS
    'Refuses loads whose rows are bad or whose contacts would be too large; how many';

-- Makes the contacts of loads whose emails have none; returns the loads that did. One load an email: the
-- caller sees to that, here and below.
CREATE FUNCTION vault.f_make_contacts(p_load_ids bigint[], p_emails text[], p_actor text)
RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Every join probes an index by key: what the planner believes of a table that was just filled does not
-- matter then.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_material = off
SET work_mem = '64MB'
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    v_now  timestamptz := clock_timestamp();
    v_made bigint[];
BEGIN
    WITH made AS (
        INSERT INTO vault.contacts
            (email, name, phone, company, title, source, tags, custom_fields, load_id, created_at, updated_at,
             status)
        SELECT e.email, f.name, f.phone, f.company, f.title, l.source, f.tags, f.custom_fields,
               l.load_id, v_now, v_now,
               CASE WHEN EXISTS (SELECT FROM vault.suppressions AS s
                                 WHERE s.email = e.email AND s.lifted_at IS NULL)
                    THEN coalesce(vault.f_suppressed_status(e.email), 'active')
                    ELSE 'active' END
        FROM unnest(p_load_ids, p_emails) AS e (load_id, email)
        JOIN intake.raw_loads AS l ON l.load_id = e.load_id
        CROSS JOIN LATERAL vault.f_row_fields(l.raw_data) AS f
        -- Not EXISTS, which may become a join that reads all contacts where there were none when it was planned.
        WHERE (SELECT c.contact_id FROM vault.contacts AS c WHERE c.email = e.email) IS NULL
        -- Sorted, so that two promotions that share emails queue up instead of deadlocking.
        ORDER BY e.email
        ON CONFLICT (email) DO NOTHING
        RETURNING *
    ), audited AS (
        INSERT INTO intake.audit_log (action, load_id, contact_id, details, "timestamp")
        SELECT 'contact_promoted', load_id, contact_id,
               jsonb_build_object(
                   'actor', p_actor,
                   'old_values', '{}'::jsonb,
                   'new_values',
                   jsonb_strip_nulls(jsonb_build_object(
                       'email', email, 'source', source, 'status', status, 'name', name, 'phone', phone,
                       'company', company, 'title', title, 'tags', nullif(tags, '[]')))
                   || CASE WHEN custom_fields = '{}' THEN '{}'
                           ELSE jsonb_build_object('custom_fields', custom_fields) END)
               || CASE WHEN status = 'active' THEN '{}'
                       ELSE jsonb_build_object('suppression_id',
                                               vault.f_deciding_entry(email, false, v_now)) END,
               v_now
        FROM made
    ), marked AS (
        UPDATE intake.raw_loads AS l
        SET status = 'promoted', promoted_at = v_now
        FROM made AS m
        WHERE l.load_id = m.load_id
    )
    SELECT array_agg(load_id) INTO STRICT v_made FROM made;
    RETURN coalesce(v_made, '{}');
END
$$;

COMMENT ON FUNCTION vault.f_make_contacts(bigint[], text[], text) IS
    'Makes the contacts of loads whose emails have none, with the status that the ledger implies';

-- Merges loads into the contacts of their emails, field by field. The status is nobody's to change here
-- (law 6), and what changes nothing touches nothing but the load (law 8). Loads that would make their contact
-- too large are left as they are, and returned as refused.
--
-- A load is older when a load of its email that came later was promoted before it, also one that changed
-- nothing; then it only fills what is empty. Mostly a load still holds the claim that it won when it came,
-- and so is the newest: no further look is needed. A claim that a retry won back does not say so.
CREATE FUNCTION vault.f_merge_contacts(
    p_load_ids bigint[], p_emails text[], p_actor text,
    OUT updated bigint, OUT unchanged bigint, OUT refused bigint[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_material = off
SET work_mem = '64MB'
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
    PERFORM 1 FROM vault.contacts AS c WHERE c.email = ANY (p_emails) ORDER BY c.email FOR UPDATE;

    WITH incoming AS (
        SELECT c.contact_id, l.load_id, c.pinned_fields AS pinned,
               c.name AS old_name, c.phone AS old_phone, c.company AS old_company, c.title AS old_title,
               c.tags AS old_tags, c.custom_fields AS old_custom_fields,
               f.name, f.part_of_name, f.phone, f.company, f.title, f.tags, f.custom_fields,
               e.email, l.created_at, c.load_id AS old_load_id
        FROM unnest(p_load_ids, p_emails) AS e (load_id, email)
        JOIN intake.raw_loads AS l ON l.load_id = e.load_id
        JOIN vault.contacts AS c ON c.email = e.email
        CROSS JOIN LATERAL vault.f_row_fields(l.raw_data) AS f
        -- Keeps the planner from computing a value once for each of its uses, here and below.
        OFFSET 0
    ), aged AS (
        -- Age matters only to a load that would change something.
        SELECT *,
               CASE WHEN (coalesce(name, old_name), coalesce(phone, old_phone), coalesce(company, old_company),
                          coalesce(title, old_title), old_custom_fields || custom_fields)
                         IS NOT DISTINCT FROM (old_name, old_phone, old_company, old_title, old_custom_fields)
                    THEN false
                    WHEN i.old_load_id > i.load_id THEN true
                    WHEN EXISTS (SELECT FROM intake.email_claims AS held
                                 WHERE held.email = i.email AND held.load_id = i.load_id
                                   AND held.accepted_at = i.created_at) THEN false
                    ELSE EXISTS (SELECT FROM intake.raw_loads AS later
                                 WHERE later.raw_data ->> 'email' = i.email
                                   AND later.status = 'promoted' AND later.load_id > i.load_id)
                         OR EXISTS (SELECT FROM intake.raw_loads AS later
                                    WHERE later.metadata ? 'normalized_email'
                                      AND later.metadata ->> 'normalized_email' = i.email
                                      AND later.status = 'promoted' AND later.load_id > i.load_id)
               END AS older
        FROM incoming AS i
        OFFSET 0
    ), merged AS (
        SELECT contact_id, load_id, old_name, old_phone, old_company, old_title, old_tags, old_custom_fields,
               -- Half a name is better than none, and no better than a name.
               vault.f_merged(old_name, name, older OR part_of_name, 'name' = ANY (pinned)) AS name,
               vault.f_merged(old_phone, phone, older, 'phone' = ANY (pinned)) AS phone,
               vault.f_merged(old_company, company, older, 'company' = ANY (pinned)) AS company,
               vault.f_merged(old_title, title, older, 'title' = ANY (pinned)) AS title,
               CASE WHEN 'tags' = ANY (pinned) OR old_tags @> tags THEN old_tags
                    ELSE vault.f_tags(old_tags || tags) END AS tags,
               CASE WHEN 'custom_fields' = ANY (pinned) THEN old_custom_fields
                    WHEN older THEN custom_fields || old_custom_fields
                    ELSE old_custom_fields || custom_fields END AS custom_fields
        FROM aged
        OFFSET 0
    ), measured AS (
        SELECT *, vault.f_is_too_large(custom_fields, tags) AS too_large FROM merged
    ), judged AS MATERIALIZED (
        SELECT *, name IS DISTINCT FROM old_name AS new_name, phone IS DISTINCT FROM old_phone AS new_phone,
               company IS DISTINCT FROM old_company AS new_company,
               title IS DISTINCT FROM old_title AS new_title, tags <> old_tags AS new_tags,
               custom_fields <> old_custom_fields AS new_custom_fields,
               (name, phone, company, title, tags, custom_fields)
               IS DISTINCT FROM (old_name, old_phone, old_company, old_title, old_tags, old_custom_fields)
                   AS changed
        FROM measured
    ), updated AS (
        UPDATE vault.contacts AS c
        SET name = j.name, phone = j.phone, company = j.company, title = j.title, tags = j.tags,
            -- What is equal stays as it is: 1.0 equals 1, and the trail would not tell of the change.
            custom_fields = CASE WHEN j.new_custom_fields THEN j.custom_fields ELSE c.custom_fields END,
            load_id = greatest(c.load_id, j.load_id),
            updated_at = clock_timestamp()
        FROM judged AS j
        WHERE c.contact_id = j.contact_id AND j.changed AND NOT j.too_large
    ), audited AS (
        INSERT INTO intake.audit_log (action, load_id, contact_id, details, "timestamp")
        SELECT CASE WHEN changed THEN 'contact_updated' ELSE 'contact_unchanged' END, load_id, contact_id,
               CASE WHEN changed THEN jsonb_build_object(
                   'actor', p_actor,
                   'old_values',
                   CASE WHEN new_name THEN jsonb_build_object('name', old_name) ELSE '{}' END
                   || CASE WHEN new_phone THEN jsonb_build_object('phone', old_phone) ELSE '{}' END
                   || CASE WHEN new_company THEN jsonb_build_object('company', old_company) ELSE '{}' END
                   || CASE WHEN new_title THEN jsonb_build_object('title', old_title) ELSE '{}' END
                   || CASE WHEN new_tags THEN jsonb_build_object('tags', old_tags) ELSE '{}' END
                   || CASE WHEN new_custom_fields THEN jsonb_build_object(
                           'custom_fields', vault.f_differing(old_custom_fields, custom_fields))
                           ELSE '{}' END,
                   'new_values',
                   CASE WHEN new_name THEN jsonb_build_object('name', name) ELSE '{}' END
                   || CASE WHEN new_phone THEN jsonb_build_object('phone', phone) ELSE '{}' END
                   || CASE WHEN new_company THEN jsonb_build_object('company', company) ELSE '{}' END
                   || CASE WHEN new_title THEN jsonb_build_object('title', title) ELSE '{}' END
                   || CASE WHEN new_tags THEN jsonb_build_object('tags', tags) ELSE '{}' END
                   || CASE WHEN new_custom_fields THEN jsonb_build_object(
                           'custom_fields', vault.f_differing(custom_fields, old_custom_fields))
                           ELSE '{}' END)
               ELSE jsonb_build_object('actor', p_actor) END,
               clock_timestamp()
        FROM judged
        WHERE NOT (changed AND too_large)
    ), marked AS (
        UPDATE intake.raw_loads AS l
        SET status = 'promoted', promoted_at = clock_timestamp()
        FROM judged AS j
        WHERE l.load_id = j.load_id AND NOT (j.changed AND j.too_large)
    )
    SELECT count(*) FILTER (WHERE changed AND NOT too_large), count(*) FILTER (WHERE NOT changed),
           coalesce(array_agg(load_id) FILTER (WHERE changed AND too_large), '{}')
    INTO STRICT updated, unchanged, refused
    FROM judged;
END
$$;

COMMENT ON FUNCTION vault.f_merge_contacts(bigint[], text[], text) IS
    'Merges loads into the contacts of their emails, field by field';
