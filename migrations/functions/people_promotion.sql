-- Promotion: pending slots become people. The service reads each slot's values out of its row, since the rules
-- for them are its own; what is written here is who may promote what, and what a merge does.
--
-- A chunk is one transaction: f_take_pending locks, the service reads, f_promote_slots writes. A person's status
-- and company are decided under two advisory locks, taken shared: that of the ledger, so that nobody arrives
-- active while the suppression commits, and that of links, so that nobody misses the company that arrives.

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
-- bounced without an entry, or was deleted, is so as a person too. People know no `unsubscribed`.
CREATE FUNCTION people.f_first_status(p_email text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN c.gone OR l.status = 'unsubscribed' THEN 'inactive'
                WHEN l.status = 'bounced' THEN 'bounced'
                ELSE 'active' END
    FROM (SELECT max(c.status) AS status, bool_or(vault.f_is_gone(c.contact_id, c.status)) AS gone
          FROM vault.contacts AS c
          WHERE c.email = p_email) AS c
    CROSS JOIN LATERAL (SELECT coalesce(vault.f_suppressed_status(p_email), c.status) AS status) AS l
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
    mail_domain text, notes jsonb, older boolean)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT *
    FROM jsonb_to_recordset(p_values) AS v (
        slot_id uuid, slot_number bigint, email text, name text, first_name text, last_name text, title text,
        linkedin_url text, phone text, location text, seniority text, department text, site_domain text,
        mail_domain text, notes jsonb, older boolean)
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

-- The last name that a full name has after a first one, word for word.
CREATE FUNCTION people.f_last_name_of(p_name text, p_first_name text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN starts_with(p_name, p_first_name || ' ')
            THEN nullif(btrim(substr(p_name, length(p_first_name) + 1)), '') END;

COMMENT ON FUNCTION people.f_last_name_of(text, text) IS 'The last name that a full name has after a first one';

-- The first name that a full name has before a last one, word for word.
CREATE FUNCTION people.f_first_name_of(p_name text, p_last_name text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN right(p_name, length(p_last_name) + 1) = ' ' || p_last_name
            THEN nullif(btrim(left(p_name, -length(p_last_name))), '') END;

COMMENT ON FUNCTION people.f_first_name_of(text, text) IS 'The first name that a full name has before a last one';

-- Whether a person's name is none that somebody gave: it is missing, or it is the first or the last name alone,
-- which is what is made of a half.
CREATE FUNCTION people.f_is_half_named(p_person people.master)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'name' <> ALL (p_person.pinned_fields)
       AND (coalesce(p_person.name, '') = '' OR p_person.name = p_person.first_name
            OR p_person.name = p_person.last_name) IS TRUE;

COMMENT ON FUNCTION people.f_is_half_named(people.master) IS
    'Whether the name of a person is missing, or was made of a first or a last name alone';

-- Merges slots into the people of their emails, who the caller holds, field by field. The status is nobody's to
-- change here (law 6), and what changes nothing touches nothing (law 8). A slot that is older only fills what is
-- empty. A name that was made of half a name counts as empty, and is made again of what the merge finds.
CREATE FUNCTION people.f_merge_people(p_values jsonb, OUT updated bigint, OUT unchanged bigint, OUT linked bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '64MB'
SET jit = off
AS $$
BEGIN
    WITH incoming AS (
        SELECT p.id, ROW(p.*)::people.master AS stored, p.pinned_fields AS pins, v.*
        FROM people.f_values(p_values) AS v
        JOIN people.master AS p ON p.email = v.email
        -- Keeps the planner from computing a value once for each of its uses, here and below.
        OFFSET 0
    ), merged AS (
        SELECT i.id, i.stored, i.pins,
               vault.f_merged(CASE WHEN NOT people.f_is_half_named(i.stored) THEN (i.stored).name END,
                              i.name, i.older, 'name' = ANY (i.pins)) AS name,
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
                    THEN coalesce(people.f_full_name(m.first_name, m.last_name), (m.stored).name)
                    ELSE m.name END AS full_name,
               CASE WHEN m.first_name IS NULL AND 'first_name' <> ALL (m.pins)
                    THEN people.f_first_name_of(m.name, m.last_name) ELSE m.first_name END AS whole_first_name,
               CASE WHEN m.last_name IS NULL AND 'last_name' <> ALL (m.pins)
                    THEN people.f_last_name_of(m.name, m.first_name) ELSE m.last_name END AS whole_last_name,
               CASE WHEN (m.stored).company_id IS NULL AND 'company_id' <> ALL (m.pins)
                    THEN people.f_company_of(m.company_domains) ELSE (m.stored).company_id END AS company_id
        FROM merged AS m
        OFFSET 0
    ), judged AS MATERIALIZED (
        SELECT f.*,
               (f.full_name, f.whole_first_name, f.whole_last_name, f.title, f.company_id, f.linkedin_url, f.phone,
                f.location, f.seniority, f.department, f.company_domains)
               IS DISTINCT FROM
               ((f.stored).name, (f.stored).first_name, (f.stored).last_name, (f.stored).title,
                (f.stored).company_id, (f.stored).linkedin_url, (f.stored).phone, (f.stored).location,
                (f.stored).seniority, (f.stored).department, (f.stored).company_domains) AS changed,
               (f.stored).company_id IS NULL AND f.company_id IS NOT NULL AS linked
        FROM filled AS f
    ), written AS (
        UPDATE people.master AS p
        SET name = j.full_name, first_name = j.whole_first_name, last_name = j.whole_last_name, title = j.title,
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

-- Of slots that were made of contacts, those whose contact was deleted since.
CREATE FUNCTION people.f_slots_of_deleted(p_values jsonb)
RETURNS uuid[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(s.id), '{}')
    FROM people.f_values(p_values) AS v
    JOIN people.slot AS s ON s.id = v.slot_id
    WHERE s.contact_id IS NOT NULL
      AND coalesce((SELECT vault.f_is_gone(c.contact_id, c.status) FROM vault.contacts AS c
                    WHERE c.contact_id = s.contact_id), true)
$$;

COMMENT ON FUNCTION people.f_slots_of_deleted(jsonb) IS
    'Of slots that were made of contacts, those whose contact was deleted since';

-- The last slot after one that was promoted into its email.
CREATE FUNCTION people.f_newest_promoted(p_email text, p_after bigint)
RETURNS bigint
LANGUAGE sql STABLE
RETURN (SELECT s.slot_number
        FROM people.slot AS s
        WHERE s.email = p_email AND s.slot_number > p_after AND s.validation_status = 'validated'
        ORDER BY s.email DESC, s.slot_number DESC
        LIMIT 1);

COMMENT ON FUNCTION people.f_newest_promoted(text, bigint) IS
    'The last slot after one that was promoted into its email';

-- Splits slots into rounds of one slot an email, in the order of staging, without those that made a person. Says of
-- each whether it is older: whether a slot of its email that was staged later was promoted before it, also one
-- that changed nothing. The caller holds the people, so that whoever promoted the later one has committed; it is
-- looked for once an email, not once a slot.
CREATE FUNCTION people.f_split_slots(p_values jsonb, p_made text[])
RETURNS jsonb[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH ranked AS (
        SELECT v.slot, v.slot ->> 'email' AS email, (v.slot ->> 'slot_number')::bigint AS slot_number,
               row_number() OVER (PARTITION BY v.slot ->> 'email'
                                  ORDER BY (v.slot ->> 'slot_number')::bigint) AS nth
        FROM jsonb_array_elements(p_values) AS v (slot)
    ), compared AS (
        SELECT r.*, max(CASE WHEN r.nth = 1 THEN people.f_newest_promoted(r.email, r.slot_number) END)
                        OVER (PARTITION BY r.email) AS newest
        FROM ranked AS r
    ), rounds AS (
        SELECT c.nth,
               jsonb_agg(c.slot || jsonb_build_object('older', coalesce(c.slot_number < c.newest, false))) AS slots
        FROM compared AS c
        WHERE c.nth > 1 OR c.email NOT IN (SELECT unnest(p_made))
        GROUP BY c.nth
    )
    SELECT coalesce(array_agg(r.slots ORDER BY r.nth), '{}') FROM rounds AS r
$$;

COMMENT ON FUNCTION people.f_split_slots(jsonb, text[]) IS
    'Splits slots into rounds of one slot an email, and says which are older than what was promoted';

-- Promotes slots that f_take_pending took in this transaction: p_values are those that are fit, p_refusals the
-- others, objects with slot_id, reason and detail. Totals count slots: promoted + updated + unchanged + rejected;
-- of them `noted` ones left out some field, and `linked` ones gave their person a company.
--
-- Whose contact was deleted since it was staged is refused too: a moment earlier it would not have been staged.
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
    v_deleted uuid[] := people.f_slots_of_deleted(p_values);
    v_emails  text[];
    v_made    record;
    v_round   jsonb;
    v_merged  record;
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    IF cardinality(v_deleted) > 0 THEN
        SELECT coalesce(jsonb_agg(v.slot) FILTER (WHERE NOT v.deleted), '[]'),
               p_refusals || coalesce(jsonb_agg(jsonb_build_object(
                   'slot_id', v.slot -> 'slot_id', 'reason', 'CONTACT_DELETED',
                   'detail', 'the contact that it was made of was deleted after that')) FILTER (WHERE v.deleted), '[]')
        INTO STRICT p_values, p_refusals
        FROM (SELECT s.slot, (s.slot ->> 'slot_id')::uuid IN (SELECT unnest(v_deleted)) AS deleted
              FROM jsonb_array_elements(p_values) AS s (slot)) AS v;
        PERFORM people.f_forget_slots(v_deleted);
    END IF;

    -- Of several slots of one email the first makes its person, or finds it.
    SELECT * INTO STRICT v_made
    FROM people.f_make_people((
        SELECT coalesce(jsonb_agg(f.slot), '[]')
        FROM (SELECT DISTINCT ON (v.slot ->> 'email') v.slot FROM jsonb_array_elements(p_values) AS v (slot)
              ORDER BY v.slot ->> 'email', (v.slot ->> 'slot_number')::bigint) AS f));
    promoted := cardinality(v_made.emails);
    updated := 0;
    unchanged := 0;
    linked := v_made.linked;

    IF jsonb_array_length(p_values) > promoted THEN
        v_emails := ARRAY(SELECT v.email FROM people.f_values(p_values) AS v);
        -- Not FOR UPDATE, which would wait for everything that refers to a person.
        PERFORM 1 FROM people.master AS p WHERE p.email = ANY (v_emails) ORDER BY p.id FOR NO KEY UPDATE;
        -- Each sees what the one before it did, so that the later wins.
        FOREACH v_round IN ARRAY people.f_split_slots(p_values, v_made.emails) LOOP
            SELECT * INTO STRICT v_merged FROM people.f_merge_people(v_round);
            updated := updated + v_merged.updated;
            unchanged := unchanged + v_merged.unchanged;
            linked := linked + v_merged.linked;
        END LOOP;
    END IF;

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

GRANT EXECUTE ON FUNCTION people.f_promote_slots TO leadvault_app;
