-- The write path of the vault: promotion, and (further down) what people and the ledger do to contacts.
--
-- Locks are taken in one order: the ledger's advisory lock, raw loads by id, claims by email, contacts by
-- email. Who reads the ledger to decide a status takes its lock shared, who writes it takes it exclusive,
-- and the decision is read in a later statement than the lock: otherwise a contact could arrive active
-- while its suppression commits.

-- The one advisory lock of the ledger; the number says nothing, it only has to be the same everywhere.
CREATE FUNCTION vault.f_ledger_lock()
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 7305001001 $$;

COMMENT ON FUNCTION vault.f_ledger_lock() IS
    'The key of the advisory lock that orders suppressions against promotions and sends';

-- The status that the ledger implies for an address; NULL where no entry speaks of email.
CREATE FUNCTION vault.f_suppressed_status(p_email text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN bool_or(s.reason <> 'bounced') THEN 'unsubscribed'
                WHEN bool_or(s.reason = 'bounced') THEN 'bounced' END
    FROM vault.suppressions AS s
    WHERE s.email = p_email AND s.lifted_at IS NULL AND s.scope IN ('all', 'email')
$$;

COMMENT ON FUNCTION vault.f_suppressed_status(text) IS
    'The status that the ledger implies for an address: unsubscribed wins over bounced';

-- The tags of a row as a list of texts, each once, in their order: of an array its texts and numbers, of a
-- text the text itself.
CREATE FUNCTION vault.f_tags(p_tags jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(tag ORDER BY nth), '[]')
    FROM (SELECT btrim(t.tag #>> '{}') AS tag, min(t.nth) AS nth
          FROM jsonb_array_elements(
              CASE jsonb_typeof(p_tags) WHEN 'array' THEN p_tags
                                        WHEN 'string' THEN jsonb_build_array(p_tags)
                                        ELSE '[]' END) WITH ORDINALITY AS t (tag, nth)
          WHERE jsonb_typeof(t.tag) IN ('string', 'number')
          GROUP BY 1) AS tags
    WHERE tag <> ''
$$;

COMMENT ON FUNCTION vault.f_tags(jsonb) IS 'The tags of a row as a list of texts, each once';

-- What a row says beyond the fields of its own: every other key, and what stands under custom_fields. A
-- null or an empty text says nothing. A field whose value its column cannot hold stays here under its name.
CREATE FUNCTION vault.f_custom_fields(p_row jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_custom jsonb := p_row - ARRAY['email', 'name', 'phone', 'company', 'title', 'tags', 'custom_fields'];
    v_field  text;
BEGIN
    FOREACH v_field IN ARRAY ARRAY['name', 'phone', 'company', 'title'] LOOP
        IF jsonb_typeof(p_row -> v_field) IN ('object', 'array', 'boolean') THEN
            v_custom := v_custom || jsonb_build_object(v_field, p_row -> v_field);
        END IF;
    END LOOP;
    IF jsonb_typeof(p_row -> 'tags') IN ('object', 'number', 'boolean') THEN
        v_custom := v_custom || jsonb_build_object('tags', p_row -> 'tags');
    END IF;
    IF jsonb_typeof(p_row -> 'custom_fields') = 'object' THEN
        v_custom := v_custom || (p_row -> 'custom_fields');
    ELSIF p_row ? 'custom_fields' THEN
        v_custom := v_custom || jsonb_build_object('custom_fields', p_row -> 'custom_fields');
    END IF;
    SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') INTO STRICT v_custom
    FROM jsonb_each(v_custom) AS e
    WHERE e.value NOT IN ('null', '""');
    RETURN v_custom;
END
$$;

COMMENT ON FUNCTION vault.f_custom_fields(jsonb) IS
    'What a row says beyond name, phone, company, title and tags';

-- Whether f_custom_fields would find no more than the other keys of a row, as it mostly does: then taking
-- the row's own keys away is all there is to do, at a tenth of the cost. Looks a little too strictly.
CREATE FUNCTION vault.f_is_plain(p_row jsonb)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT (p_row ? 'custom_fields')
       AND NOT jsonb_path_exists(p_row, '$.* ? (@ == null || @ == "")')
       AND coalesce(jsonb_typeof(p_row -> 'name'), 'string') IN ('string', 'number')
       AND coalesce(jsonb_typeof(p_row -> 'phone'), 'string') IN ('string', 'number')
       AND coalesce(jsonb_typeof(p_row -> 'company'), 'string') IN ('string', 'number')
       AND coalesce(jsonb_typeof(p_row -> 'title'), 'string') IN ('string', 'number')
       AND coalesce(jsonb_typeof(p_row -> 'tags'), 'array') IN ('array', 'string');

COMMENT ON FUNCTION vault.f_is_plain(jsonb) IS
    'Whether the other keys of a row are all that it has for custom_fields';

-- The text of a row's field: of a text what is left without the blanks around it, of a number its digits.
CREATE FUNCTION vault.f_text_field(p_value jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(p_value) IN ('string', 'number')
            THEN nullif(btrim(p_value #>> '{}', E' \t\n\r'), '') END;

COMMENT ON FUNCTION vault.f_text_field(jsonb) IS 'The text of a row''s field; NULL where it says nothing';

-- The value of a text field after a merge.
CREATE FUNCTION vault.f_merged(p_stored text, p_incoming text, p_older boolean, p_pinned boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_pinned OR p_incoming IS NULL OR (p_older AND p_stored <> '') THEN p_stored
            ELSE p_incoming END;

COMMENT ON FUNCTION vault.f_merged(text, text, boolean, boolean) IS 'The value of a text field after a merge';

-- Two images of a row as old and new values of the fields that differ.
CREATE FUNCTION vault.f_changes(p_old jsonb, p_new jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('old_values', coalesce(jsonb_object_agg(n.key, p_old -> n.key), '{}'),
                              'new_values', coalesce(jsonb_object_agg(n.key, n.value), '{}'))
    FROM jsonb_each(p_new) AS n
    WHERE n.value IS DISTINCT FROM p_old -> n.key
$$;

COMMENT ON FUNCTION vault.f_changes(jsonb, jsonb) IS
    'Two images of a row as old and new values of the fields that differ';

-- Refuses loads that cannot become contacts: they end as failed, with the reason, and give up their claims.
-- Rows that came through the functions of intake were checked there; this is for those that did not.
CREATE FUNCTION vault.f_fail_loads(p_load_ids bigint[], p_actor text)
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
              WHERE l.load_id = ANY (p_load_ids))
        ORDER BY held.email
        FOR UPDATE);
    DELETE FROM intake.email_claims AS held
    WHERE held.email = ANY (v_claimed) AND held.load_id = ANY (p_load_ids);

    WITH refused AS MATERIALIZED (
        SELECT l.load_id,
               jsonb_build_object('reason', c.reason, 'pointer', c.pointer, 'detail', c.detail) AS failure
        FROM intake.raw_loads AS l
        CROSS JOIN LATERAL intake.f_check_row(l.raw_data) AS c
        WHERE l.load_id = ANY (p_load_ids)
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

COMMENT ON FUNCTION vault.f_fail_loads(bigint[], text) IS
    'Ends loads that cannot become contacts as failed, with the reason, and releases their claims';

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
        SELECT e.email,
               coalesce(vault.f_text_field(l.raw_data -> 'name'),
                        nullif(concat_ws(' ', vault.f_text_field(l.raw_data -> 'first_name'),
                                              vault.f_text_field(l.raw_data -> 'last_name')), '')),
               vault.f_text_field(l.raw_data -> 'phone'),
               vault.f_text_field(l.raw_data -> 'company'),
               vault.f_text_field(l.raw_data -> 'title'),
               l.source,
               CASE WHEN l.raw_data ? 'tags' THEN vault.f_tags(l.raw_data -> 'tags') ELSE '[]' END,
               CASE WHEN vault.f_is_plain(l.raw_data)
                    THEN l.raw_data - ARRAY['email', 'name', 'phone', 'company', 'title', 'tags']
                    ELSE vault.f_custom_fields(l.raw_data) END,
               l.load_id, v_now, v_now,
               CASE WHEN EXISTS (SELECT FROM vault.suppressions AS s
                                 WHERE s.email = e.email AND s.lifted_at IS NULL)
                    THEN coalesce(vault.f_suppressed_status(e.email), 'active')
                    ELSE 'active' END
        FROM unnest(p_load_ids, p_emails) AS e (load_id, email)
        JOIN intake.raw_loads AS l ON l.load_id = e.load_id
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
                       'source', source, 'status', status, 'name', name, 'phone', phone,
                       'company', company, 'title', title, 'tags', nullif(tags, '[]')))
                   || CASE WHEN custom_fields = '{}' THEN '{}'
                           ELSE jsonb_build_object('custom_fields', custom_fields) END),
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
-- (law 6), and what changes nothing touches nothing but the load (law 8).
--
-- A load is older when a load of its email that came later was promoted before it, also one that changed
-- nothing; then it only fills what is empty. Mostly a load still holds the claim that it won when it came,
-- and so is the newest: no further look is needed. A claim that a retry won back does not say so.
CREATE FUNCTION vault.f_merge_contacts(
    p_load_ids bigint[], p_emails text[], p_actor text, OUT updated bigint, OUT unchanged bigint)
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
               coalesce(vault.f_text_field(l.raw_data -> 'name'),
                        nullif(concat_ws(' ', vault.f_text_field(l.raw_data -> 'first_name'),
                                              vault.f_text_field(l.raw_data -> 'last_name')), '')) AS name,
               vault.f_text_field(l.raw_data -> 'phone') AS phone,
               vault.f_text_field(l.raw_data -> 'company') AS company,
               vault.f_text_field(l.raw_data -> 'title') AS title,
               CASE WHEN l.raw_data ? 'tags' THEN vault.f_tags(l.raw_data -> 'tags') ELSE '[]' END AS tags,
               CASE WHEN vault.f_is_plain(l.raw_data)
                    THEN l.raw_data - ARRAY['email', 'name', 'phone', 'company', 'title', 'tags']
                    ELSE vault.f_custom_fields(l.raw_data) END AS custom_fields,
               e.email, l.created_at, c.load_id AS old_load_id
        FROM unnest(p_load_ids, p_emails) AS e (load_id, email)
        JOIN intake.raw_loads AS l ON l.load_id = e.load_id
        JOIN vault.contacts AS c ON c.email = e.email
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
               vault.f_merged(old_name, name, older, 'name' = ANY (pinned)) AS name,
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
    ), judged AS MATERIALIZED (
        SELECT *, name IS DISTINCT FROM old_name AS new_name, phone IS DISTINCT FROM old_phone AS new_phone,
               company IS DISTINCT FROM old_company AS new_company,
               title IS DISTINCT FROM old_title AS new_title, tags <> old_tags AS new_tags,
               custom_fields <> old_custom_fields AS new_custom_fields,
               (name, phone, company, title, tags, custom_fields)
               IS DISTINCT FROM (old_name, old_phone, old_company, old_title, old_tags, old_custom_fields)
                   AS changed
        FROM merged
    ), updated AS (
        UPDATE vault.contacts AS c
        SET name = j.name, phone = j.phone, company = j.company, title = j.title, tags = j.tags,
            custom_fields = j.custom_fields, load_id = greatest(c.load_id, j.load_id),
            updated_at = clock_timestamp()
        FROM judged AS j
        WHERE c.contact_id = j.contact_id AND j.changed
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
                   || CASE WHEN new_custom_fields THEN jsonb_build_object('custom_fields', old_custom_fields)
                           ELSE '{}' END,
                   'new_values',
                   CASE WHEN new_name THEN jsonb_build_object('name', name) ELSE '{}' END
                   || CASE WHEN new_phone THEN jsonb_build_object('phone', phone) ELSE '{}' END
                   || CASE WHEN new_company THEN jsonb_build_object('company', company) ELSE '{}' END
                   || CASE WHEN new_title THEN jsonb_build_object('title', title) ELSE '{}' END
                   || CASE WHEN new_tags THEN jsonb_build_object('tags', tags) ELSE '{}' END
                   || CASE WHEN new_custom_fields THEN jsonb_build_object('custom_fields', custom_fields)
                           ELSE '{}' END)
               ELSE jsonb_build_object('actor', p_actor) END,
               clock_timestamp()
        FROM judged
    ), marked AS (
        UPDATE intake.raw_loads AS l
        SET status = 'promoted', promoted_at = clock_timestamp()
        FROM judged AS j
        WHERE l.load_id = j.load_id
    )
    SELECT count(*) FILTER (WHERE changed), count(*) FILTER (WHERE NOT changed)
    INTO STRICT updated, unchanged
    FROM judged;
END
$$;

COMMENT ON FUNCTION vault.f_merge_contacts(bigint[], text[], text) IS
    'Merges loads into the contacts of their emails, field by field';

-- The next pending loads after one, up to another, in order; of a batch, or of all. Sorting and bitmaps are
-- off, so that idx_raw_loads_pending is walked from the cursor on, whatever statistics say of a table that
-- was just filled: ten million pending loads are not read for each chunk.
CREATE FUNCTION vault.f_pending_loads(p_batch_id text, p_after bigint, p_last bigint, p_most integer)
RETURNS bigint[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    IF p_batch_id IS NULL THEN
        RETURN ARRAY(
            SELECT l.load_id FROM intake.raw_loads AS l
            WHERE l.status = 'pending' AND l.load_id > p_after AND l.load_id <= p_last
            ORDER BY l.load_id
            LIMIT p_most);
    END IF;
    RETURN ARRAY(
        SELECT l.load_id FROM intake.raw_loads AS l
        WHERE l.status = 'pending' AND l.load_id > p_after AND l.load_id <= p_last
          AND l.batch_id || '' = p_batch_id
        ORDER BY l.load_id
        LIMIT p_most);
END
$$;

COMMENT ON FUNCTION vault.f_pending_loads(text, bigint, bigint, integer) IS
    'The next pending loads of a batch, or of all, in order';

-- Promotes loads that are pending and that nobody else is promoting. The body of PromoteContacts and of
-- f_promote_contacts. Totals count loads: promoted + updated + unchanged + failed.
CREATE FUNCTION vault.f_promote_loads(
    p_load_ids bigint[], p_actor text,
    OUT promoted bigint, OUT updated bigint, OUT unchanged bigint, OUT failed bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET work_mem = '64MB'
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    v_good   record;
    v_loads  bigint[];
    v_emails text[];
    v_made   bigint[] := '{}';
    v_merged record;
BEGIN
    -- On an older snapshot the lock would show nothing of what committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'loads are promoted in READ COMMITTED only'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(vault.f_ledger_lock());

    -- The normalized emails: intake kept the spelling that SQL could not derive again; a row that came past
    -- it is read as f_ingest_json would have. A load without an email cannot become a contact.
    WITH locked AS MATERIALIZED (
        SELECT l.load_id,
               CASE WHEN l.metadata ? 'lane' AND octet_length(e.email) <= 254 THEN e.email
                    ELSE (intake.f_check_row(l.raw_data)).email END AS email
        FROM intake.raw_loads AS l
        CROSS JOIN LATERAL coalesce(l.metadata ->> 'normalized_email', l.raw_data ->> 'email') AS e (email)
        -- Not an expression of an index: where statistics say that little is pending, the planner would rather
        -- read all that is, for each chunk.
        WHERE l.load_id = ANY (p_load_ids) AND l.status || '' = 'pending'
        FOR UPDATE OF l SKIP LOCKED
    ), ranked AS (
        SELECT load_id, email, row_number() OVER (PARTITION BY email ORDER BY load_id) AS nth
        FROM locked
        WHERE email IS NOT NULL
    )
    SELECT coalesce(array_agg(load_id), '{}') AS loads, coalesce(array_agg(email), '{}') AS emails,
           array_agg(nth) AS nths, coalesce(max(nth), 0) AS last_nth,
           ARRAY(SELECT load_id FROM locked WHERE email IS NULL) AS bad
    INTO STRICT v_good
    FROM ranked;

    failed := cardinality(v_good.bad);
    IF failed > 0 THEN
        PERFORM vault.f_fail_loads(v_good.bad, p_actor);
    END IF;

    -- Of several loads of one email each sees what the one before it did, so that the later wins.
    promoted := 0;
    updated := 0;
    unchanged := 0;
    FOR v_nth IN 1 .. v_good.last_nth LOOP
        v_loads := v_good.loads;
        v_emails := v_good.emails;
        IF v_good.last_nth > 1 THEN
            SELECT array_agg(load_id), array_agg(email) INTO STRICT v_loads, v_emails
            FROM unnest(v_good.loads, v_good.emails, v_good.nths) AS g (load_id, email, nth)
            WHERE nth = v_nth;
        END IF;
        -- The first of each email made its contact, or found it.
        IF v_nth = 1 THEN
            v_made := vault.f_make_contacts(v_loads, v_emails, p_actor);
            promoted := cardinality(v_made);
            CONTINUE WHEN promoted = cardinality(v_loads);
            IF promoted > 0 THEN
                SELECT array_agg(load_id), array_agg(email) INTO STRICT v_loads, v_emails
                FROM unnest(v_loads, v_emails) AS g (load_id, email)
                WHERE load_id NOT IN (SELECT unnest(v_made));
            END IF;
        END IF;
        SELECT * INTO STRICT v_merged FROM vault.f_merge_contacts(v_loads, v_emails, p_actor);
        updated := updated + v_merged.updated;
        unchanged := unchanged + v_merged.unchanged;
    END LOOP;
END
$$;

COMMENT ON FUNCTION vault.f_promote_loads(bigint[], text) IS
    'Promotes loads that are pending and that nobody else is promoting; totals count loads';

-- The reference's function, for people at psql: see schema-reference, "vault.f_promote_contacts()". All in
-- one chunk, since it is one transaction: chunk by chunk it would take contacts out of order.
CREATE FUNCTION vault.f_promote_contacts(p_load_ids bigint[] DEFAULT NULL)
RETURNS TABLE (promoted_count bigint, updated_count bigint, failed_count bigint, message text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_actor  text := coalesce(nullif(current_setting('leadvault.actor', true), ''), session_user);
    v_result record;
BEGIN
    SELECT * INTO STRICT v_result
    FROM vault.f_promote_loads(
        coalesce(p_load_ids, ARRAY(SELECT l.load_id FROM intake.raw_loads AS l WHERE l.status = 'pending')),
        v_actor);
    promoted_count := v_result.promoted;
    updated_count := v_result.updated;
    failed_count := v_result.failed;
    message := format('promoted %s, updated %s, unchanged %s, failed %s',
                      promoted_count, updated_count, v_result.unchanged, failed_count);
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION vault.f_promote_contacts(bigint[]) IS
    'Promote contacts from intake to vault; NULL promotes all that is pending';

GRANT EXECUTE ON FUNCTION
    vault.f_ledger_lock, vault.f_suppressed_status, vault.f_pending_loads, vault.f_promote_loads, vault.f_promote_contacts
    TO leadvault_app;
