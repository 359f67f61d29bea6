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
-- null or an empty text says nothing. A field whose value cannot be a text stays here under its name.
CREATE FUNCTION vault.f_custom_fields(p_row jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_custom jsonb := p_row - ARRAY['email', 'name', 'phone', 'company', 'title', 'tags', 'custom_fields'];
    v_field  text;
BEGIN
    IF jsonb_typeof(p_row -> 'custom_fields') = 'object' THEN
        v_custom := v_custom || (p_row -> 'custom_fields');
    END IF;
    FOREACH v_field IN ARRAY ARRAY['name', 'phone', 'company', 'title'] LOOP
        IF jsonb_typeof(p_row -> v_field) IN ('object', 'array', 'boolean') THEN
            v_custom := v_custom || jsonb_build_object(v_field, p_row -> v_field);
        END IF;
    END LOOP;
    IF jsonb_path_exists(v_custom, '$.* ? (@ == null || @ == "")') THEN
        SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') INTO STRICT v_custom
        FROM jsonb_each(v_custom) AS e
        WHERE e.value NOT IN ('null', '""');
    END IF;
    RETURN v_custom;
END
$$;

COMMENT ON FUNCTION vault.f_custom_fields(jsonb) IS
    'What a row says beyond name, phone, company, title and tags';

-- The text of a row's field: of a text what is left without the blanks around it, of a number its digits.
CREATE FUNCTION vault.f_text_field(p_value jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(p_value) IN ('string', 'number')
            THEN nullif(btrim(p_value #>> '{}', E' \t\n\r'), '') END;

COMMENT ON FUNCTION vault.f_text_field(jsonb) IS 'The text of a row''s field; NULL where it says nothing';

-- Refuses loads that cannot become contacts: they end as failed, with the reason, and give up their claims.
-- Rows that came through the functions of intake were checked there; this is for those that did not.
CREATE FUNCTION vault.f_fail_loads(p_load_ids bigint[], p_actor text)
RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_failed bigint[];
BEGIN
    WITH refused AS (
        SELECT l.load_id, l.raw_data ->> 'email' AS email,
               jsonb_build_object('reason', c.reason, 'pointer', c.pointer, 'detail', c.detail) AS failure
        FROM intake.raw_loads AS l
        CROSS JOIN LATERAL intake.f_check_row(l.raw_data) AS c
        WHERE l.load_id = ANY (p_load_ids) AND NOT l.metadata ? 'lane' AND c.reason IS NOT NULL
    ), released AS (
        DELETE FROM intake.email_claims AS held
        USING refused AS r
        WHERE held.email = r.email AND held.load_id = r.load_id
    ), failed AS (
        UPDATE intake.raw_loads AS l
        SET status = 'failed', metadata = l.metadata || jsonb_build_object('failure', r.failure)
        FROM refused AS r
        WHERE l.load_id = r.load_id
    ), audited AS (
        INSERT INTO intake.audit_log (action, load_id, details, "timestamp")
        SELECT 'load_failed', load_id, jsonb_build_object('actor', p_actor, 'failure', failure), clock_timestamp()
        FROM refused
        ORDER BY load_id
    )
    SELECT array_agg(load_id) INTO STRICT v_failed FROM refused;
    RETURN coalesce(v_failed, '{}');
END
$$;

COMMENT ON FUNCTION vault.f_fail_loads(bigint[], text) IS
    'Ends loads that cannot become contacts as failed, with the reason, and releases their claims';

-- The normalized emails of loads. Intake kept the spelling that it could not derive again; a row that came
-- past it is read as f_ingest_json would have.
CREATE FUNCTION vault.f_load_emails(p_load_ids bigint[])
RETURNS TABLE (load_id bigint, email text)
LANGUAGE sql STABLE
AS $$
    SELECT l.load_id,
           coalesce(l.metadata ->> 'normalized_email',
                    CASE WHEN l.metadata ? 'lane' THEN l.raw_data ->> 'email'
                         ELSE (intake.f_normalize_email(l.raw_data ->> 'email')).email END)
    FROM intake.raw_loads AS l
    WHERE l.load_id = ANY (p_load_ids)
$$;

COMMENT ON FUNCTION vault.f_load_emails(bigint[]) IS 'The normalized emails of loads';

-- What loads say of their contacts. One load of an email at a time: the caller sees to that.
--
-- A load is older when a load of its email that came later was promoted before it; then it only fills what
-- is empty. Mostly a load holds the claim on its email and so is the newest: no further look is needed.
CREATE FUNCTION vault.f_read_loads(p_load_ids bigint[])
RETURNS TABLE (
    load_id bigint, source text, email text, name text, phone text, company text, title text, tags jsonb,
    custom_fields jsonb, older boolean)
LANGUAGE sql STABLE
AS $$
    SELECT l.load_id, l.source, e.email,
           coalesce(vault.f_text_field(l.raw_data -> 'name'),
                    nullif(concat_ws(' ', vault.f_text_field(l.raw_data -> 'first_name'),
                                          vault.f_text_field(l.raw_data -> 'last_name')), '')),
           vault.f_text_field(l.raw_data -> 'phone'),
           vault.f_text_field(l.raw_data -> 'company'),
           vault.f_text_field(l.raw_data -> 'title'),
           CASE WHEN l.raw_data ? 'tags' THEN vault.f_tags(l.raw_data -> 'tags') ELSE '[]' END,
           vault.f_custom_fields(l.raw_data),
           held.load_id IS DISTINCT FROM l.load_id AND EXISTS (
               SELECT FROM intake.raw_loads AS later
               WHERE (later.raw_data ->> 'email' = e.email
                      OR (later.metadata ? 'normalized_email'
                          AND later.metadata ->> 'normalized_email' = e.email))
                 AND later.status = 'promoted' AND later.load_id > l.load_id)
    FROM vault.f_load_emails(p_load_ids) AS e
    JOIN intake.raw_loads AS l ON l.load_id = e.load_id
    LEFT JOIN intake.email_claims AS held ON held.email = e.email
$$;

COMMENT ON FUNCTION vault.f_read_loads(bigint[]) IS 'What loads say of their contacts';

-- Makes the contacts of loads whose emails have none; returns the loads that did.
CREATE FUNCTION vault.f_make_contacts(p_load_ids bigint[], p_actor text)
RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    v_made bigint[];
BEGIN
    WITH made AS (
        INSERT INTO vault.contacts
            (email, name, phone, company, title, source, tags, custom_fields, load_id, created_at, updated_at,
             status)
        SELECT i.email, i.name, i.phone, i.company, i.title, i.source, i.tags, i.custom_fields, i.load_id,
               t.now, t.now, coalesce(vault.f_suppressed_status(i.email), 'active')
        FROM vault.f_read_loads(p_load_ids) AS i
        CROSS JOIN (SELECT clock_timestamp() AS now) AS t
        -- Sorted, so that two promotions that share emails queue up instead of deadlocking.
        ORDER BY i.email
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
                       'company', company, 'title', title))
                   || CASE WHEN tags = '[]' THEN '{}' ELSE jsonb_build_object('tags', tags) END
                   || CASE WHEN custom_fields = '{}' THEN '{}'
                           ELSE jsonb_build_object('custom_fields', custom_fields) END),
               created_at
        FROM made
        ORDER BY load_id
    )
    SELECT array_agg(load_id) INTO STRICT v_made FROM made;
    RETURN coalesce(v_made, '{}');
END
$$;

COMMENT ON FUNCTION vault.f_make_contacts(bigint[], text) IS
    'Makes the contacts of loads whose emails have none, with the status that the ledger implies';

-- Merges loads into the contacts of their emails, field by field; returns the loads that changed one.
-- The status is nobody's to change here (law 6), and what changes nothing touches nothing (law 8).
CREATE FUNCTION vault.f_merge_contacts(p_load_ids bigint[], p_actor text)
RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    v_changed bigint[];
BEGIN
    PERFORM 1
    FROM vault.contacts AS c
    WHERE c.email IN (SELECT i.email FROM vault.f_read_loads(p_load_ids) AS i)
    ORDER BY c.email
    FOR UPDATE;

    WITH merged AS (
        SELECT c.contact_id, i.load_id, c.load_id AS old_load_id,
               c.name AS old_name, vault.f_merged(c.name, i.name, i.older, 'name' = ANY (c.pinned_fields)) AS name,
               c.phone AS old_phone,
               vault.f_merged(c.phone, i.phone, i.older, 'phone' = ANY (c.pinned_fields)) AS phone,
               c.company AS old_company,
               vault.f_merged(c.company, i.company, i.older, 'company' = ANY (c.pinned_fields)) AS company,
               c.title AS old_title,
               vault.f_merged(c.title, i.title, i.older, 'title' = ANY (c.pinned_fields)) AS title,
               c.tags AS old_tags,
               CASE WHEN i.tags = '[]' OR c.tags @> i.tags OR 'tags' = ANY (c.pinned_fields) THEN c.tags
                    ELSE vault.f_tags(c.tags || i.tags) END AS tags,
               c.custom_fields AS old_custom_fields,
               CASE WHEN 'custom_fields' = ANY (c.pinned_fields) THEN c.custom_fields
                    WHEN i.older THEN i.custom_fields || c.custom_fields
                    ELSE c.custom_fields || i.custom_fields END AS custom_fields
        FROM vault.f_read_loads(p_load_ids) AS i
        JOIN vault.contacts AS c ON c.email = i.email
    ), changed AS (
        SELECT * FROM merged
        WHERE (name, phone, company, title, tags, custom_fields)
              IS DISTINCT FROM (old_name, old_phone, old_company, old_title, old_tags, old_custom_fields)
    ), updated AS (
        UPDATE vault.contacts AS c
        SET name = m.name, phone = m.phone, company = m.company, title = m.title, tags = m.tags,
            custom_fields = m.custom_fields, load_id = greatest(c.load_id, m.load_id),
            updated_at = clock_timestamp()
        FROM changed AS m
        WHERE c.contact_id = m.contact_id
    ), audited AS (
        INSERT INTO intake.audit_log (action, load_id, contact_id, details, "timestamp")
        SELECT 'contact_updated', load_id, contact_id,
               jsonb_build_object('actor', p_actor) || vault.f_changes(
                   jsonb_build_object('name', old_name, 'phone', old_phone, 'company', old_company,
                                      'title', old_title, 'tags', old_tags,
                                      'custom_fields', old_custom_fields),
                   jsonb_build_object('name', name, 'phone', phone, 'company', company, 'title', title,
                                      'tags', tags, 'custom_fields', custom_fields)),
               clock_timestamp()
        FROM changed
        ORDER BY load_id
    )
    SELECT array_agg(load_id) INTO STRICT v_changed FROM changed;
    RETURN coalesce(v_changed, '{}');
END
$$;

COMMENT ON FUNCTION vault.f_merge_contacts(bigint[], text) IS
    'Merges loads into the contacts of their emails, field by field';

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

-- Promotes loads that are pending and that nobody else is promoting. The body of PromoteContacts and of
-- f_promote_contacts. Totals count loads: promoted + updated + unchanged + failed.
CREATE FUNCTION vault.f_promote_loads(
    p_load_ids bigint[], p_actor text,
    OUT promoted bigint, OUT updated bigint, OUT unchanged bigint, OUT failed bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET work_mem = '64MB'
SET jit = off
AS $$
DECLARE
    v_loads      bigint[];
    v_failed     bigint[];
    v_generation bigint[];
    v_made       bigint[];
    v_merged     bigint[];
    v_touched    bigint[] := '{}';
    v_nth        integer := 1;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(vault.f_ledger_lock());
    v_loads := ARRAY(
        SELECT l.load_id FROM intake.raw_loads AS l
        WHERE l.load_id = ANY (p_load_ids) AND l.status = 'pending'
        ORDER BY l.load_id
        FOR UPDATE SKIP LOCKED);
    v_failed := vault.f_fail_loads(v_loads, p_actor);
    failed := cardinality(v_failed);
    IF failed > 0 THEN
        v_loads := ARRAY(SELECT unnest(v_loads) EXCEPT SELECT unnest(v_failed) ORDER BY 1);
    END IF;

    -- Of several loads of one email each sees what the one before it did, so that the later wins.
    promoted := 0;
    updated := 0;
    LOOP
        v_generation := ARRAY(
            SELECT r.load_id
            FROM (SELECT i.load_id, row_number() OVER (PARTITION BY i.email ORDER BY i.load_id) AS nth
                  FROM vault.f_load_emails(v_loads) AS i) AS r
            WHERE r.nth = v_nth);
        EXIT WHEN cardinality(v_generation) = 0;
        v_made := vault.f_make_contacts(v_generation, p_actor);
        v_merged := '{}';
        IF cardinality(v_made) < cardinality(v_generation) THEN
            v_merged := vault.f_merge_contacts(
                ARRAY(SELECT unnest(v_generation) EXCEPT SELECT unnest(v_made)), p_actor);
        END IF;
        promoted := promoted + cardinality(v_made);
        updated := updated + cardinality(v_merged);
        v_touched := v_touched || v_made || v_merged;
        v_nth := v_nth + 1;
    END LOOP;
    unchanged := cardinality(v_loads) - promoted - updated;

    UPDATE intake.raw_loads AS l
    SET status = 'promoted', promoted_at = clock_timestamp()
    WHERE l.load_id = ANY (v_loads);

    INSERT INTO intake.audit_log (action, load_id, contact_id, details, "timestamp")
    SELECT 'contact_unchanged', i.load_id, c.contact_id, jsonb_build_object('actor', p_actor),
           clock_timestamp()
    FROM vault.f_load_emails(ARRAY(SELECT unnest(v_loads) EXCEPT SELECT unnest(v_touched))) AS i
    JOIN vault.contacts AS c ON c.email = i.email
    ORDER BY i.load_id;
END
$$;

COMMENT ON FUNCTION vault.f_promote_loads(bigint[], text) IS
    'Promotes loads that are pending and that nobody else is promoting; totals count loads';

-- The reference's function, for people at psql: see schema-reference, "vault.f_promote_contacts()".
CREATE FUNCTION vault.f_promote_contacts(p_load_ids bigint[] DEFAULT NULL)
RETURNS TABLE (promoted_count bigint, updated_count bigint, failed_count bigint, message text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_actor     text := coalesce(nullif(current_setting('leadvault.actor', true), ''), session_user);
    v_loads     bigint[] := p_load_ids;
    v_last      bigint := 0;
    v_unchanged bigint := 0;
    v_chunk     record;
BEGIN
    promoted_count := 0;
    updated_count := 0;
    failed_count := 0;
    LOOP
        IF p_load_ids IS NULL THEN
            v_loads := ARRAY(
                SELECT l.load_id FROM intake.raw_loads AS l
                WHERE l.status = 'pending' AND l.load_id > v_last
                ORDER BY l.load_id
                LIMIT 5000);
            v_last := v_loads[cardinality(v_loads)];
        END IF;
        EXIT WHEN cardinality(v_loads) = 0;
        SELECT * INTO STRICT v_chunk FROM vault.f_promote_loads(v_loads, v_actor);
        promoted_count := promoted_count + v_chunk.promoted;
        updated_count := updated_count + v_chunk.updated;
        failed_count := failed_count + v_chunk.failed;
        v_unchanged := v_unchanged + v_chunk.unchanged;
        EXIT WHEN p_load_ids IS NOT NULL;
    END LOOP;
    message := format('promoted %s, updated %s, unchanged %s, failed %s',
                      promoted_count, updated_count, v_unchanged, failed_count);
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION vault.f_promote_contacts(bigint[]) IS
    'Promote contacts from intake to vault; NULL promotes all that is pending';

GRANT EXECUTE ON FUNCTION
    vault.f_ledger_lock, vault.f_suppressed_status, vault.f_promote_loads, vault.f_promote_contacts
    TO leadvault_app;
