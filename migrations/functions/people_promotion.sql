-- Promotion: pending slots become people. The service reads each slot's values out of its row, since the rules
-- for them are its own; what is written here is who may promote what, and what a merge does.
--
-- A chunk is one transaction: f_take_pending locks, the service reads, f_promote_slots writes. A person's status
-- and company are decided under two advisory locks, taken shared: that of the ledger, so that nobody arrives
-- active while the suppression commits, and that of links, so that nobody misses the company that arrives.

-- Takes the next pending slots after one, in the order of staging, until the transaction ends: of p_ids, of a
-- batch, or of all; at most so many bytes of rows, but one slot at least. Those that somebody else took are left
-- to them.
--
-- Sorting and bitmaps are off, so that idx_people_slot_pending and idx_people_slot_batch_id are walked from the
-- cursor on, whatever statistics say of a table that was just filled; and what is not to be the index that is
-- walked is written as an expression.
CREATE FUNCTION people.f_take_pending(
    p_ids uuid[], p_batch_id text, p_after bigint, p_most integer, p_max_bytes bigint)
RETURNS TABLE (id uuid, slot_number bigint, email text, raw_data text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_ids uuid[];
BEGIN
    -- On an older snapshot the locks would show nothing of what committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'slots are promoted in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(vault.f_ledger_lock());
    PERFORM pg_advisory_xact_lock_shared(company.f_link_lock());

    IF p_ids IS NOT NULL THEN
        v_ids := ARRAY(
            SELECT s.id FROM people.slot AS s
            WHERE s.id = ANY (p_ids) AND s.validation_status || '' = 'pending' AND s.slot_number + 0 > p_after
            ORDER BY s.slot_number + 0
            LIMIT p_most
            FOR NO KEY UPDATE SKIP LOCKED);
    ELSIF p_batch_id IS NOT NULL THEN
        v_ids := ARRAY(
            SELECT s.id FROM people.slot AS s
            WHERE s.batch_id = p_batch_id AND s.validation_status || '' = 'pending' AND s.slot_number > p_after
            ORDER BY s.batch_id, s.slot_number
            LIMIT p_most
            FOR NO KEY UPDATE SKIP LOCKED);
    ELSE
        v_ids := ARRAY(
            SELECT s.id FROM people.slot AS s
            WHERE s.validation_status = 'pending' AND s.slot_number > p_after
            ORDER BY s.slot_number
            LIMIT p_most
            FOR NO KEY UPDATE SKIP LOCKED);
    END IF;

    RETURN QUERY
    SELECT m.id, m.slot_number, m.email, m.raw_data
    FROM (
        SELECT t.*, sum(octet_length(t.raw_data)) OVER (ORDER BY t.nth) AS bytes
        FROM (SELECT s.id, s.slot_number, s.email, s.raw_data::text AS raw_data, v.nth
              FROM unnest(v_ids) WITH ORDINALITY AS v (id, nth)
              JOIN people.slot AS s ON s.id = v.id) AS t
    ) AS m
    WHERE m.nth = 1 OR m.bytes <= p_max_bytes
    ORDER BY m.nth;
END
$$;

COMMENT ON FUNCTION people.f_take_pending(uuid[], text, bigint, integer, bigint) IS
    'Locks the next pending slots that nobody else is promoting, and returns them in the order of staging';

-- The company of the first of some domains that is one's.
CREATE FUNCTION people.f_company_of(p_domains text[])
RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT c.id
        FROM company.master AS c
        WHERE c.domain = ANY (p_domains)
        ORDER BY array_position(p_domains, c.domain)
        LIMIT 1);

COMMENT ON FUNCTION people.f_company_of(text[]) IS 'The company of the first of some domains that is one''s';

-- The status that the ledger implies for a new person, or else its contact: one that was unsubscribed or has
-- bounced without an entry is so as a person too. People know no `unsubscribed`.
CREATE FUNCTION people.f_first_status(p_email text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE l.status WHEN 'unsubscribed' THEN 'inactive' WHEN 'bounced' THEN 'bounced' ELSE 'active' END
    FROM (SELECT coalesce(vault.f_suppressed_status(p_email),
                          (SELECT c.status FROM vault.contacts AS c WHERE c.email = p_email)) AS status) AS l
$$;

COMMENT ON FUNCTION people.f_first_status(text) IS 'The status that the ledger implies for a new person';

-- The domains that link a person: of the website, then of the email where it is a company's.
CREATE FUNCTION people.f_domains(p_site text, p_mail text)
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_site = p_mail THEN ARRAY[p_site] ELSE array_remove(ARRAY[p_site, p_mail], NULL) END;

COMMENT ON FUNCTION people.f_domains(text, text) IS 'The domains that link a person to its company, best first';

-- What slots say, as the service read it: an array of objects, one a slot, with a text for each field that the
-- slot says something of.
CREATE FUNCTION people.f_values(p_values jsonb)
RETURNS TABLE (
    slot_id uuid, slot_number bigint, email text, name text, first_name text, last_name text, title text,
    linkedin_url text, phone text, location text, seniority text, department text, site_domain text,
    mail_domain text, notes jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT *
    FROM jsonb_to_recordset(p_values) AS v (
        slot_id uuid, slot_number bigint, email text, name text, first_name text, last_name text, title text,
        linkedin_url text, phone text, location text, seniority text, department text, site_domain text,
        mail_domain text, notes jsonb)
$$;

COMMENT ON FUNCTION people.f_values(jsonb) IS 'What slots say, as the service read it';

-- Makes the people of emails that have none. One slot an email: the caller sees to that, here and below. Returns
-- the emails of those who were made, and how many of them have a company.
CREATE FUNCTION people.f_make_people(p_values jsonb, OUT emails text[], OUT linked bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Every join probes an index by key: what the planner believes of a table that was just filled does not matter
-- then; here and below.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    WITH made AS (
        INSERT INTO people.master
            (email, name, first_name, last_name, title, company_id, linkedin_url, phone, location, seniority,
             department, created_at, updated_at, status, company_domains)
        SELECT v.email, coalesce(v.name, people.f_full_name(v.first_name, v.last_name)), v.first_name,
               v.last_name, v.title, people.f_company_of(d.domains), v.linkedin_url, v.phone, v.location,
               v.seniority, v.department, v_now, v_now, people.f_first_status(v.email), d.domains
        FROM people.f_values(p_values) AS v
        CROSS JOIN LATERAL people.f_domains(v.site_domain, v.mail_domain) AS d (domains)
        WHERE (SELECT p.id FROM people.master AS p WHERE p.email = v.email) IS NULL
        -- Sorted, so that two promotions that share emails queue up instead of deadlocking.
        ORDER BY v.email
        ON CONFLICT (email) DO NOTHING
        RETURNING email, company_id
    )
    SELECT coalesce(array_agg(m.email), '{}'), count(m.company_id) INTO STRICT emails, linked FROM made AS m;
END
$$;

COMMENT ON FUNCTION people.f_make_people(jsonb) IS
    'Makes the people of slots whose emails have none, with the status that the ledger implies';

-- The full name that a first and a last one make, where it can be kept.
CREATE FUNCTION people.f_full_name(p_first_name text, p_last_name text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN coalesce(octet_length(p_first_name), 0) + coalesce(octet_length(p_last_name), 0) < 1000
            THEN nullif(btrim(coalesce(p_first_name, '') || ' ' || coalesce(p_last_name, '')), '') END;

COMMENT ON FUNCTION people.f_full_name(text, text) IS 'The full name that a first and a last one make';

-- Merges slots into the people of their emails, field by field. The status is nobody's to change here (law 6),
-- and what changes nothing touches nothing (law 8).
--
-- A slot is older when a slot of its email that was staged later was promoted before it, also one that changed
-- nothing; then it only fills what is empty. That is read once the person is locked, so that whoever promoted
-- the later one has committed.
CREATE FUNCTION people.f_merge_people(p_values jsonb, OUT updated bigint, OUT unchanged bigint, OUT linked bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '64MB'
SET jit = off
AS $$
DECLARE
    v_emails text[] := ARRAY(SELECT v.email FROM people.f_values(p_values) AS v);
BEGIN
    -- Not FOR UPDATE, which would wait for everything that refers to a person.
    PERFORM 1 FROM people.master AS p WHERE p.email = ANY (v_emails) ORDER BY p.id FOR NO KEY UPDATE;

    WITH incoming AS (
        SELECT p.id, ROW(p.*)::people.master AS stored, p.pinned_fields AS pins, v.*,
               EXISTS (SELECT FROM people.slot AS later
                       WHERE later.email = v.email AND later.slot_number > v.slot_number
                         AND later.validation_status = 'validated') AS older
        FROM people.f_values(p_values) AS v
        JOIN people.master AS p ON p.email = v.email
        -- Keeps the planner from computing a value once for each of its uses, here and below.
        OFFSET 0
    ), merged AS (
        SELECT i.id, i.stored, i.pins,
               vault.f_merged((i.stored).name, i.name, i.older, 'name' = ANY (i.pins)) AS name,
               vault.f_merged((i.stored).first_name, i.first_name, i.older, 'first_name' = ANY (i.pins))
                   AS first_name,
               vault.f_merged((i.stored).last_name, i.last_name, i.older, 'last_name' = ANY (i.pins)) AS last_name,
               vault.f_merged((i.stored).title, i.title, i.older, 'title' = ANY (i.pins)) AS title,
               vault.f_merged((i.stored).linkedin_url, i.linkedin_url, i.older, 'linkedin_url' = ANY (i.pins))
                   AS linkedin_url,
               vault.f_merged((i.stored).phone, i.phone, i.older, 'phone' = ANY (i.pins)) AS phone,
               vault.f_merged((i.stored).location, i.location, i.older, 'location' = ANY (i.pins)) AS location,
               vault.f_merged((i.stored).seniority, i.seniority, i.older, 'seniority' = ANY (i.pins)) AS seniority,
               vault.f_merged((i.stored).department, i.department, i.older, 'department' = ANY (i.pins))
                   AS department,
               people.f_domains(
                   vault.f_merged(CASE WHEN (i.stored).company_domains[1] IS DISTINCT FROM i.mail_domain
                                       THEN (i.stored).company_domains[1] END,
                                  i.site_domain, i.older, false),
                   i.mail_domain) AS company_domains
        FROM incoming AS i
        OFFSET 0
    ), filled AS (
        SELECT m.*,
               CASE WHEN m.name IS NULL AND 'name' <> ALL (m.pins)
                    THEN people.f_full_name(m.first_name, m.last_name) ELSE m.name END AS full_name,
               CASE WHEN (m.stored).company_id IS NULL AND 'company_id' <> ALL (m.pins)
                    THEN people.f_company_of(m.company_domains) ELSE (m.stored).company_id END AS company_id
        FROM merged AS m
        OFFSET 0
    ), judged AS MATERIALIZED (
        SELECT f.*,
               (f.full_name, f.first_name, f.last_name, f.title, f.company_id, f.linkedin_url, f.phone, f.location,
                f.seniority, f.department, f.company_domains)
               IS DISTINCT FROM
               ((f.stored).name, (f.stored).first_name, (f.stored).last_name, (f.stored).title,
                (f.stored).company_id, (f.stored).linkedin_url, (f.stored).phone, (f.stored).location,
                (f.stored).seniority, (f.stored).department, (f.stored).company_domains) AS changed,
               (f.stored).company_id IS NULL AND f.company_id IS NOT NULL AS linked
        FROM filled AS f
    ), written AS (
        UPDATE people.master AS p
        SET name = j.full_name, first_name = j.first_name, last_name = j.last_name, title = j.title,
            company_id = j.company_id, linkedin_url = j.linkedin_url, phone = j.phone, location = j.location,
            seniority = j.seniority, department = j.department, company_domains = j.company_domains,
            updated_at = clock_timestamp()
        FROM judged AS j
        WHERE p.id = j.id AND j.changed
    )
    SELECT count(*) FILTER (WHERE j.changed), count(*) FILTER (WHERE NOT j.changed),
           count(*) FILTER (WHERE j.linked)
    INTO STRICT updated, unchanged, linked
    FROM judged AS j;
END
$$;

COMMENT ON FUNCTION people.f_merge_people(jsonb) IS
    'Merges slots into the people of their emails, field by field';

-- Promotes slots that f_take_pending took in this transaction: p_values are those that are fit, p_refusals the
-- others, objects with slot_id, reason and detail. Totals count slots: promoted + updated + unchanged + rejected;
-- of them `noted` ones left out some field, and `linked` ones gave their person a company.
CREATE FUNCTION people.f_promote_slots(
    p_values jsonb, p_refusals jsonb, p_actor text,
    OUT promoted bigint, OUT updated bigint, OUT unchanged bigint, OUT rejected bigint, OUT noted bigint,
    OUT linked bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '64MB'
SET jit = off
AS $$
DECLARE
    v_rounds jsonb[];
    v_round  jsonb;
    v_made   record;
    v_merged record;
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    promoted := 0;
    updated := 0;
    unchanged := 0;
    linked := 0;

    -- Of several slots of one email each sees what the one before it did, so that the later wins.
    SELECT coalesce(array_agg(r.slots ORDER BY r.nth), '{}') INTO STRICT v_rounds
    FROM (
        SELECT n.nth, jsonb_agg(n.slot) AS slots
        FROM (SELECT v.slot, row_number() OVER (PARTITION BY v.slot ->> 'email'
                                                ORDER BY (v.slot ->> 'slot_number')::bigint) AS nth
              FROM jsonb_array_elements(p_values) AS v (slot)) AS n
        GROUP BY n.nth
    ) AS r;
    FOR v_nth IN 1 .. cardinality(v_rounds) LOOP
        v_round := v_rounds[v_nth];
        -- The first of each email made its person, or found it.
        IF v_nth = 1 THEN
            SELECT * INTO STRICT v_made FROM people.f_make_people(v_round);
            promoted := cardinality(v_made.emails);
            linked := v_made.linked;
            CONTINUE WHEN promoted = jsonb_array_length(v_round);
            IF promoted > 0 THEN
                SELECT jsonb_agg(v.slot) INTO STRICT v_round
                FROM jsonb_array_elements(v_round) AS v (slot)
                WHERE v.slot ->> 'email' NOT IN (SELECT unnest(v_made.emails));
            END IF;
        END IF;
        SELECT * INTO STRICT v_merged FROM people.f_merge_people(v_round);
        updated := updated + v_merged.updated;
        unchanged := unchanged + v_merged.unchanged;
        linked := linked + v_merged.linked;
    END LOOP;

    UPDATE people.slot AS s
    -- The email as it was read: a slot that was written past the service is found by it from now on, also by
    -- who asks whether a later one was promoted.
    SET validation_status = 'validated', promoted_at = clock_timestamp(), notes = coalesce(v.notes, '[]'),
        email = v.email
    FROM people.f_values(p_values) AS v
    WHERE s.id = v.slot_id;
    WITH refused AS (
        UPDATE people.slot AS s
        SET validation_status = 'rejected', rejection_reason = r.reason, rejection_detail = r.detail
        FROM jsonb_to_recordset(p_refusals) AS r (slot_id uuid, reason text, detail text)
        WHERE s.id = r.slot_id
        RETURNING s.id
    )
    SELECT count(*) INTO STRICT rejected FROM refused;
    SELECT count(*) INTO STRICT noted
    FROM people.f_values(p_values) AS v
    WHERE jsonb_array_length(v.notes) > 0;
END
$$;

COMMENT ON FUNCTION people.f_promote_slots(jsonb, jsonb, text) IS
    'Promotes slots that the transaction locked; totals count slots';

GRANT EXECUTE ON FUNCTION people.f_take_pending, people.f_promote_slots TO leadvault_app;
