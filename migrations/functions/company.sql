-- Companies: their history, their etag, and the people who wait for them.
--
-- Locks are taken in one order: batch and lane, contacts that were staged by id, heads by key, slots by number
-- (those that somebody holds are skipped), the advisory lock of links, companies by id, people by id. A company
-- is locked FOR NO KEY UPDATE, never FOR UPDATE: the foreign key of people takes KEY SHARE.

-- The one advisory lock of links; the number says nothing, it only has to be the same everywhere. Who makes a
-- company takes it exclusive, who looks up the companies of people takes it shared, and looks in a later
-- statement than the lock: otherwise a person and its company could arrive at once and miss each other.
CREATE FUNCTION company.f_link_lock()
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 7305001002 $$;

COMMENT ON FUNCTION company.f_link_lock() IS
    'The key of the advisory lock that orders new companies against people who look for theirs';

-- The columns of a company that its history keeps. Not its times: that it was touched is no change.
CREATE FUNCTION company.f_image(p_company company.master)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
    'domain', p_company.domain, 'name', p_company.name, 'industry', p_company.industry,
    'employee_count', p_company.employee_count, 'revenue', p_company.revenue,
    'location', p_company.location, 'linkedin_url', p_company.linkedin_url,
    'website', p_company.website, 'status', p_company.status, 'pinned_fields', p_company.pinned_fields);

COMMENT ON FUNCTION company.f_image(company.master) IS 'The columns of a company that its history keeps';

-- The fingerprint of a company. With the time of its last change, so that a value which changed and changed
-- back is noticed; as a number, since its text depends on the session's time zone. Without that of its
-- enrichment: one that found nothing new must not stop whoever is editing it.
CREATE FUNCTION company.f_etag(p_company company.master)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN md5(jsonb_build_array(
    p_company.id, company.f_image(p_company), extract(epoch FROM p_company.created_at),
    extract(epoch FROM p_company.updated_at))::text);

COMMENT ON FUNCTION company.f_etag(company.master) IS 'The fingerprint of a company''s content';

-- When a change happened: the record's own time of change where it was read from the clock by the statement
-- that changed it, so that as_of finds what update_time promises; else the clock's.
CREATE FUNCTION company.f_changed_at(p_updated_at timestamptz, p_before timestamptz)
RETURNS timestamptz
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN p_updated_at > greatest(transaction_timestamp(), p_before)
                     AND p_updated_at <= clock_timestamp() THEN p_updated_at
                ELSE clock_timestamp() END
$$;

COMMENT ON FUNCTION company.f_changed_at(timestamptz, timestamptz) IS 'When a change of a record happened';

-- The history of companies, written by the database itself, one statement for however many changed.
CREATE FUNCTION company.f_write_history()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Both tables hold what the statement touched, and nothing says how much that is: a plan that was made for one
-- company must not be run for a hundred thousand. The other joins are set too, since a trigger inherits the
-- settings of the function whose statement fired it.
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = on
SET work_mem = '64MB'
SET jit = off
AS $$
DECLARE
    v_actor text := coalesce(nullif(current_setting('leadvault.actor', true), ''), session_user);
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO company.history
            (company_id, changed_fields, old_values, new_values, changed_by, changed_at)
        SELECT made.id, (SELECT jsonb_agg(k.key) FROM jsonb_object_keys(made.image) AS k (key)), '{}', made.image,
               v_actor, company.f_changed_at(made.updated_at, NULL)
        FROM (SELECT n.id, n.updated_at,
                     CASE WHEN n.pinned_fields = '{}'
                          THEN jsonb_strip_nulls(company.f_image(ROW(n.*)::company.master)) - 'pinned_fields'
                          ELSE jsonb_strip_nulls(company.f_image(ROW(n.*)::company.master)) END AS image
              FROM new_rows AS n
              OFFSET 0) AS made
        ORDER BY made.id;
    ELSE
        INSERT INTO company.history
            (company_id, changed_fields, old_values, new_values, changed_by, changed_at)
        SELECT changed.id, d.fields, d.old_values, d.new_values, v_actor,
               company.f_changed_at(changed.updated_at, changed.updated_before)
        FROM (SELECT n.id, n.updated_at, o.updated_at AS updated_before,
                     company.f_image(ROW(o.*)::company.master) AS old_image,
                     company.f_image(ROW(n.*)::company.master) AS new_image
              FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
              OFFSET 0) AS changed
        CROSS JOIN LATERAL (
            SELECT jsonb_agg(e.key) AS fields, jsonb_object_agg(e.key, changed.old_image -> e.key) AS old_values,
                   jsonb_object_agg(e.key, e.value) AS new_values
            FROM jsonb_each(changed.new_image) AS e
            WHERE e.value <> changed.old_image -> e.key) AS d
        WHERE changed.old_image <> changed.new_image
        ORDER BY changed.id;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION company.f_write_history() IS 'Writes the history of companies';

CREATE TRIGGER master_insert_history
    AFTER INSERT ON company.master
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION company.f_write_history();

CREATE TRIGGER master_update_history
    AFTER UPDATE ON company.master
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION company.f_write_history();

-- Before the first row, so that nobody waits for this lock while somebody waits for that row.
CREATE FUNCTION company.f_lock_links()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(company.f_link_lock());
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION company.f_lock_links() IS 'Keeps people from looking for their company while some are made';

CREATE TRIGGER master_lock_links
    BEFORE INSERT ON company.master
    FOR EACH STATEMENT EXECUTE FUNCTION company.f_lock_links();

-- Links the people who wait for a company that is made. Who has a company keeps it, and who was given one, or
-- none, by hand is left alone. Of several the first in the person's order is taken. Where more wait than one
-- statement should write, the rest is left to f_link_waiting.
CREATE FUNCTION company.f_link_people()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    c_most CONSTANT integer := 10000;
    v_domains text[];
    v_people  uuid[];
BEGIN
    SELECT array_agg(n.domain) INTO v_domains FROM new_rows AS n;
    IF v_domains IS NULL THEN
        RETURN NULL;
    END IF;
    v_people := ARRAY(
        SELECT p.id FROM people.master AS p
        WHERE p.id = ANY (ARRAY(
                SELECT w.id FROM people.master AS w
                WHERE w.company_id IS NULL AND w.company_domains && v_domains
                  AND 'company_id' <> ALL (w.pinned_fields)
                LIMIT c_most))
          AND p.company_id IS NULL
        ORDER BY p.id
        FOR NO KEY UPDATE);
    IF cardinality(v_people) > 0 THEN
        UPDATE people.master AS p
        SET company_id = (
                SELECT n.id FROM new_rows AS n
                WHERE n.domain = ANY (p.company_domains)
                ORDER BY array_position(p.company_domains, n.domain)
                LIMIT 1),
            updated_at = clock_timestamp()
        WHERE p.id = ANY (v_people);
    END IF;
    IF cardinality(v_people) >= c_most THEN
        UPDATE company.master AS c
        SET people_waiting = true
        WHERE c.id IN (SELECT n.id FROM new_rows AS n);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION company.f_link_people() IS 'Links the people who wait for a company that is made';

-- Links some of the people who are left of a company that more waited for than the statement which made it was to
-- write; how many, or NULL where there is no such company, or others work on all of them. A company is done when
-- fewer are found than may be linked at once: who arrives after it looks for it.
CREATE FUNCTION company.f_link_waiting(p_most integer, p_actor text)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_company company.master;
    v_people  uuid[];
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    SELECT c.* INTO v_company
    FROM company.master AS c
    WHERE c.people_waiting
    ORDER BY c.id
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    v_people := ARRAY(
        SELECT p.id FROM people.master AS p
        WHERE p.company_id IS NULL AND p.company_domains @> ARRAY[v_company.domain]
          AND 'company_id' <> ALL (p.pinned_fields)
        LIMIT p_most);
    IF cardinality(v_people) < p_most THEN
        UPDATE company.master AS c SET people_waiting = false WHERE c.id = v_company.id;
    END IF;
    v_people := ARRAY(
        SELECT p.id FROM people.master AS p
        WHERE p.id = ANY (v_people) AND p.company_id IS NULL AND 'company_id' <> ALL (p.pinned_fields)
        ORDER BY p.id
        FOR NO KEY UPDATE);
    UPDATE people.master AS p
    SET company_id = people.f_company_of(p.company_domains), updated_at = clock_timestamp()
    WHERE p.id = ANY (v_people);
    RETURN cardinality(v_people);
END
$$;

COMMENT ON FUNCTION company.f_link_waiting(integer, text) IS
    'Links some of the people who are left of a company that many waited for';

CREATE TRIGGER master_link_people
    AFTER INSERT ON company.master
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION company.f_link_people();

-- A company as it was: its history up to a time, folded. No row: there was none yet.
CREATE FUNCTION company.f_company_as_of(p_company_id uuid, p_at timestamptz)
RETURNS SETOF company.master
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT past.*
    FROM (SELECT jsonb_object_agg(e.key, e.value ORDER BY h.history_id) AS image, max(h.changed_at) AS changed_at
          FROM company.history AS h
          CROSS JOIN LATERAL jsonb_each(h.new_values) AS e
          WHERE h.company_id = p_company_id AND h.changed_at <= p_at) AS folded
    JOIN company.master AS c ON c.id = p_company_id
    CROSS JOIN LATERAL jsonb_populate_record(
        NULL::company.master,
        '{"pinned_fields": []}' || folded.image || jsonb_build_object(
            'id', c.id, 'created_at', c.created_at, 'updated_at', folded.changed_at)) AS past
    WHERE folded.image IS NOT NULL
$$;

COMMENT ON FUNCTION company.f_company_as_of(uuid, timestamptz) IS 'A company as it was at a time, from its history';

GRANT EXECUTE ON FUNCTION
    company.f_link_lock, company.f_link_waiting, company.f_image, company.f_etag, company.f_company_as_of
    TO leadvault_app;
