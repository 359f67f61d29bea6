-- Golden records of companies: promotion of slots, and what people do to companies.
--
-- Each function locks its companies first and decides then, so that of two callers who read the same state one
-- wins and the other is told (law 7); what changes nothing writes nothing (law 8); the triggers write the
-- history (law 9).

-- The value of a field after a merge.
CREATE FUNCTION company.f_merged(p_stored anyelement, p_incoming anyelement, p_older boolean, p_pinned boolean)
RETURNS anyelement
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN p_pinned OR p_incoming IS NULL OR (p_older AND p_stored IS NOT NULL) THEN p_stored
                ELSE p_incoming END
$$;

COMMENT ON FUNCTION company.f_merged(anyelement, anyelement, boolean, boolean) IS
    'The value of a field after a merge';

-- Slots as promotion read them.
CREATE FUNCTION company.f_read_slots(p_slots jsonb)
RETURNS TABLE (
    id uuid, slot_number bigint, domain text, name text, industry text, employee_count integer, revenue numeric,
    location text, linkedin_url text, website text, notes jsonb, older boolean)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT *
    FROM jsonb_to_recordset(p_slots) AS s (
        id uuid, slot_number bigint, domain text, name text, industry text, employee_count integer,
        revenue numeric, location text, linkedin_url text, website text, notes jsonb, older boolean)
$$;

COMMENT ON FUNCTION company.f_read_slots(jsonb) IS 'Slots as promotion read them';

-- Makes the companies of slots whose domains have none; returns their ids and domains. Of several slots of one
-- domain the first makes it.
CREATE FUNCTION company.f_make_companies(p_slots jsonb, OUT company_ids uuid[], OUT domains text[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Every join probes an index by key: what the planner believes of a table that was just filled does not matter.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    v_new uuid[];
BEGIN
    company_ids := '{}';
    domains := '{}';
    v_new := ARRAY(
        SELECT s.id
        FROM (SELECT DISTINCT ON (r.domain) r.id, r.domain FROM company.f_read_slots(p_slots) AS r
              ORDER BY r.domain, r.slot_number) AS s
        WHERE (SELECT c.id FROM company.master AS c WHERE c.domain = s.domain) IS NULL);
    -- Nothing to make: not even a look at the lock, which promotions of people hold.
    IF cardinality(v_new) = 0 THEN
        RETURN;
    END IF;
    WITH made AS (
        INSERT INTO company.master
            (domain, name, industry, employee_count, revenue, location, linkedin_url, website, created_at,
             updated_at)
        SELECT s.domain, s.name, s.industry, s.employee_count, s.revenue, s.location, s.linkedin_url, s.website,
               t.now, t.now
        FROM company.f_read_slots(p_slots) AS s
        -- Depends on the slot, so that each company has a time of its own, and one only.
        CROSS JOIN LATERAL (SELECT clock_timestamp() AS now WHERE s.id IS NOT NULL) AS t
        WHERE s.id = ANY (v_new)
        ORDER BY s.domain
        ON CONFLICT (domain) DO NOTHING
        RETURNING id, domain
    )
    SELECT coalesce(array_agg(made.id), '{}'), coalesce(array_agg(made.domain), '{}')
    INTO STRICT company_ids, domains
    FROM made;
END
$$;

COMMENT ON FUNCTION company.f_make_companies(jsonb) IS 'Makes the companies of slots whose domains have none';

-- The last slot after one that was promoted into its domain.
CREATE FUNCTION company.f_newest_promoted(p_domain text, p_after bigint)
RETURNS bigint
LANGUAGE sql STABLE
RETURN (SELECT s.slot_number
        FROM company.slot AS s
        WHERE s.domain = p_domain AND s.slot_number > p_after AND s.validation_status = 'validated'
        ORDER BY s.domain DESC, s.slot_number DESC
        LIMIT 1);

COMMENT ON FUNCTION company.f_newest_promoted(text, bigint) IS
    'The last slot after one that was promoted into its domain';

-- Splits slots into rounds of one slot a domain, in the order of staging, without those that made a company. Says
-- of each whether it is older: whether a later slot of its domain was promoted before. The caller holds the
-- companies, so that whoever promoted that one has committed; it is looked for once a domain, not once a slot.
CREATE FUNCTION company.f_split_slots(p_slots jsonb, p_made text[])
RETURNS jsonb[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH ranked AS (
        SELECT v.slot, v.slot ->> 'domain' AS domain, (v.slot ->> 'slot_number')::bigint AS slot_number,
               row_number() OVER (PARTITION BY v.slot ->> 'domain'
                                  ORDER BY (v.slot ->> 'slot_number')::bigint) AS nth
        FROM jsonb_array_elements(p_slots) AS v (slot)
    ), compared AS (
        SELECT r.*, max(CASE WHEN r.nth = 1 THEN company.f_newest_promoted(r.domain, r.slot_number) END)
                        OVER (PARTITION BY r.domain) AS newest
        FROM ranked AS r
    ), rounds AS (
        SELECT c.nth,
               jsonb_agg(c.slot || jsonb_build_object('older', coalesce(c.slot_number < c.newest, false))) AS slots
        FROM compared AS c
        WHERE c.nth > 1 OR c.domain NOT IN (SELECT unnest(p_made))
        GROUP BY c.nth
    )
    SELECT coalesce(array_agg(r.slots ORDER BY r.nth), '{}') FROM rounds AS r
$$;

COMMENT ON FUNCTION company.f_split_slots(jsonb, text[]) IS
    'Splits slots into rounds of one slot a domain, and says which are older than what was promoted';

-- Merges slots into the companies of their domains, field by field; one slot a domain: the caller sees to that,
-- and holds the companies. Returns how many changed. A slot that is older only fills what is empty.
CREATE FUNCTION company.f_merge_companies(p_slots jsonb)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    v_updated bigint;
BEGIN
    WITH incoming AS (
        SELECT c.id, c AS old, s.*, c.pinned_fields AS pinned
        FROM company.f_read_slots(p_slots) AS s (
            slot_id, slot_number, domain, name, industry, employee_count, revenue, location, linkedin_url, website,
            notes, older)
        JOIN company.master AS c ON c.domain = s.domain
        -- Keeps the planner from computing a value once for each of its uses, here and below.
        OFFSET 0
    ), merged AS (
        SELECT i.id,
               company.f_merged((i.old).name, i.name, older, 'name' = ANY (pinned)) AS name,
               company.f_merged((i.old).industry, i.industry, older, 'industry' = ANY (pinned)) AS industry,
               company.f_merged((i.old).employee_count, i.employee_count, older,
                                'employee_count' = ANY (pinned)) AS employee_count,
               company.f_merged((i.old).revenue, i.revenue, older, 'revenue' = ANY (pinned)) AS revenue,
               company.f_merged((i.old).location, i.location, older, 'location' = ANY (pinned)) AS location,
               company.f_merged((i.old).linkedin_url, i.linkedin_url, older,
                                'linkedin_url' = ANY (pinned)) AS linkedin_url,
               company.f_merged((i.old).website, i.website, older, 'website' = ANY (pinned)) AS website
        FROM incoming AS i
        OFFSET 0
    )
    UPDATE company.master AS c
    SET name = m.name, industry = m.industry, employee_count = m.employee_count, revenue = m.revenue,
        location = m.location, linkedin_url = m.linkedin_url, website = m.website, updated_at = clock_timestamp()
    FROM merged AS m
    WHERE c.id = m.id
      AND (m.name, m.industry, m.employee_count, m.revenue, m.location, m.linkedin_url, m.website)
          IS DISTINCT FROM
          (c.name, c.industry, c.employee_count, c.revenue, c.location, c.linkedin_url, c.website);
    GET DIAGNOSTICS v_updated = ROW_COUNT;
    RETURN v_updated;
END
$$;

COMMENT ON FUNCTION company.f_merge_companies(jsonb) IS
    'Merges slots into the companies of their domains; returns how many changed';

-- Promotes slots that this transaction took: those of p_slots as they were read, and rejects those of
-- p_rejected. The body of PromoteCompanies. Totals count slots; `linked` counts people.
CREATE FUNCTION company.f_promote_slots(
    p_slots jsonb, p_rejected jsonb, p_actor text,
    OUT promoted bigint, OUT updated bigint, OUT unchanged bigint, OUT rejected bigint, OUT noted bigint,
    OUT linked bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    v_tally record;
    v_made  record;
    v_round jsonb;
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    UPDATE company.slot AS s
    SET validation_status = 'rejected', rejection_reason = r.reason, rejection_detail = r.detail
    FROM jsonb_to_recordset(p_rejected) AS r (id uuid, reason text, detail text)
    WHERE s.id = r.id;
    GET DIAGNOSTICS rejected = ROW_COUNT;

    SELECT count(*) AS slots, count(*) FILTER (WHERE s.notes <> '[]') AS noted, array_agg(s.domain) AS domains
    INTO STRICT v_tally
    FROM company.f_read_slots(p_slots) AS s;
    noted := v_tally.noted;

    SELECT * INTO STRICT v_made FROM company.f_make_companies(p_slots);
    promoted := cardinality(v_made.domains);
    SELECT count(*) INTO STRICT linked FROM people.master AS p WHERE p.company_id = ANY (v_made.company_ids);

    -- Of several slots of one domain each sees what the one before it did, so that the later wins.
    updated := 0;
    IF v_tally.slots > promoted THEN
        PERFORM 1 FROM company.master AS c
        WHERE c.domain = ANY (v_tally.domains)
        ORDER BY c.id
        FOR NO KEY UPDATE;
        FOREACH v_round IN ARRAY company.f_split_slots(p_slots, v_made.domains) LOOP
            updated := updated + company.f_merge_companies(v_round);
        END LOOP;
    END IF;
    unchanged := v_tally.slots - promoted - updated;

    -- The domain too: who wrote a slot past the service may not have normalized it, and age goes by it.
    UPDATE company.slot AS s
    SET validation_status = 'validated', promoted_at = clock_timestamp(), notes = r.notes, domain = r.domain
    FROM company.f_read_slots(p_slots) AS r
    WHERE s.id = r.id;
END
$$;

COMMENT ON FUNCTION company.f_promote_slots(jsonb, jsonb, text) IS
    'Promotes slots that this transaction took; totals count slots';

-- Sets the fields that p_changes names, as texts or null, pins them, and unpins those of p_unpin; of an
-- enrichment those that are not pinned, and pins nothing. No row: there is no such company. With outcome
-- etag_mismatch nothing was done, and the company is as it is now.
CREATE FUNCTION company.f_update_company(
    p_company_id uuid, p_etag text, p_changes jsonb, p_unpin text[], p_enrichment boolean, p_actor text)
RETURNS TABLE (outcome text, golden company.master)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_fields CONSTANT text[] := ARRAY['name', 'industry', 'employee_count', 'revenue', 'location', 'linkedin_url',
                                      'website'];
    v_new company.master;
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    SELECT c.* INTO golden FROM company.master AS c WHERE c.id = p_company_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF company.f_etag(golden) IS DISTINCT FROM p_etag THEN
        outcome := 'etag_mismatch';
        RETURN NEXT;
        RETURN;
    END IF;

    v_new := jsonb_populate_record(
        golden, CASE WHEN p_enrichment THEN p_changes - golden.pinned_fields ELSE p_changes END);
    v_new.pinned_fields := ARRAY(
        SELECT f.field FROM unnest(v_fields) WITH ORDINALITY AS f (field, nth)
        WHERE (f.field = ANY (golden.pinned_fields) OR (p_changes ? f.field AND NOT p_enrichment))
          AND (p_enrichment OR f.field <> ALL (p_unpin))
        ORDER BY f.nth);

    IF company.f_image(v_new) <> company.f_image(golden) THEN
        outcome := 'updated';
        UPDATE company.master AS c
        SET name = v_new.name, industry = v_new.industry, employee_count = v_new.employee_count,
            revenue = v_new.revenue, location = v_new.location, linkedin_url = v_new.linkedin_url,
            website = v_new.website, pinned_fields = v_new.pinned_fields, updated_at = t.now,
            enriched_at = CASE WHEN p_enrichment THEN t.now ELSE c.enriched_at END
        FROM (SELECT clock_timestamp() AS now) AS t
        WHERE c.id = p_company_id
        RETURNING c.* INTO STRICT golden;
    ELSE
        outcome := 'unchanged';
        IF p_enrichment THEN
            UPDATE company.master AS c SET enriched_at = clock_timestamp()
            WHERE c.id = p_company_id
            RETURNING c.* INTO STRICT golden;
        END IF;
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION company.f_update_company(uuid, text, jsonb, text[], boolean, text) IS
    'Changes and pins fields of a company, or enriches it, unless it changed since the caller read it';

-- Sets a company to archived. One that is stays so, also against a stale etag: there is nothing to lose, and a
-- caller who repeats the call still holds the etag from before the first.
CREATE FUNCTION company.f_archive_company(p_company_id uuid, p_etag text, p_actor text)
RETURNS TABLE (outcome text, golden company.master)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    SELECT c.* INTO golden FROM company.master AS c WHERE c.id = p_company_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF golden.status = 'archived' THEN
        outcome := 'unchanged';
    ELSIF company.f_etag(golden) IS DISTINCT FROM p_etag THEN
        outcome := 'etag_mismatch';
    ELSE
        outcome := 'archived';
        UPDATE company.master AS c SET status = 'archived', updated_at = clock_timestamp()
        WHERE c.id = p_company_id
        RETURNING c.* INTO STRICT golden;
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION company.f_archive_company(uuid, text, text) IS
    'Sets a company to archived, unless it changed since the caller read it';

GRANT EXECUTE ON FUNCTION
    company.f_promote_slots, company.f_update_company, company.f_archive_company
    TO leadvault_app;
