-- The golden records of people: what they look like, the history that no code path can forget, and how they
-- were at any time.
--
-- Locks are taken in one order: the ledger's advisory lock, that of links, batch and lane, staged contacts by
-- id, heads of slots by email, slots (never waited for), companies by id, people. Who holds the people that it
-- changes may make others first: those in the order of emails, then the ones that were there in that of ids.

-- Every column of a person but its key and its times, under its name. Of all there are, so that a column which
-- is added later has a history too.
CREATE FUNCTION people.f_image(p_person people.master)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN to_jsonb(p_person) - ARRAY['id', 'created_at', 'updated_at', 'enriched_at'];

COMMENT ON FUNCTION people.f_image(people.master) IS 'The columns of a person whose changes are history';

-- The fingerprint of a person. With the time of its last change, so that a value which changed and changed back
-- is noticed; as a number, since its text depends on the session's time zone. Without that of its enrichment: one
-- that found nothing new must not stop whoever is editing it.
CREATE FUNCTION people.f_etag(p_person people.master)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN md5(jsonb_build_array(
    p_person.id, people.f_image(p_person), extract(epoch FROM p_person.created_at),
    extract(epoch FROM p_person.updated_at))::text);

COMMENT ON FUNCTION people.f_etag(people.master) IS 'The fingerprint of a person''s content';

-- Law 9: writes the history of all the people that one statement made or changed, whoever ran it. What did not
-- change but in its times writes none.
CREATE FUNCTION people.f_write_history()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Both tables hold what the statement touched, and nothing says how much that is: to compare each row of one
-- with each of the other would take hours for a bulk promotion. The other joins are set too, since a trigger
-- inherits the settings of the function whose statement fired it.
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = on
SET work_mem = '64MB'
SET jit = off
AS $$
DECLARE
    -- A setting that was local to a transaction is an empty text in the next one.
    v_actor text := coalesce(nullif(current_setting('leadvault.actor', true), ''), session_user);
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO people.history
            (person_id, changed_fields, old_values, new_values, changed_by, changed_at)
        SELECT n.id, to_jsonb(ARRAY(SELECT jsonb_object_keys(i.image))), '{}', i.image, v_actor,
               company.f_changed_at(n.updated_at, NULL)
        FROM new_people AS n
        CROSS JOIN LATERAL (SELECT jsonb_strip_nulls(people.f_image(ROW(n.*)::people.master))) AS i (image)
        ORDER BY n.id;
    ELSE
        INSERT INTO people.history
            (person_id, changed_fields, old_values, new_values, changed_by, changed_at)
        SELECT i.id, c.fields, c.old_values, c.new_values, v_actor,
               company.f_changed_at(i.updated_at, i.updated_before)
        FROM (
            SELECT n.id, n.updated_at, o.updated_at AS updated_before,
                   people.f_image(ROW(o.*)::people.master) AS was,
                   people.f_image(ROW(n.*)::people.master) AS is_now
            FROM old_people AS o
            JOIN new_people AS n ON n.id = o.id
            OFFSET 0
        ) AS i
        CROSS JOIN LATERAL (
            SELECT jsonb_agg(e.key) AS fields, jsonb_object_agg(e.key, i.was -> e.key) AS old_values,
                   jsonb_object_agg(e.key, e.value) AS new_values
            FROM jsonb_each(i.is_now) AS e
            WHERE e.value IS DISTINCT FROM i.was -> e.key
        ) AS c
        WHERE i.was <> i.is_now
        ORDER BY i.id;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION people.f_write_history() IS 'Writes the history of the people that a statement changed';

CREATE TRIGGER master_insert_history
    AFTER INSERT ON people.master
    REFERENCING NEW TABLE AS new_people
    FOR EACH STATEMENT EXECUTE FUNCTION people.f_write_history();

CREATE TRIGGER master_update_history
    AFTER UPDATE ON people.master
    REFERENCING OLD TABLE AS old_people NEW TABLE AS new_people
    FOR EACH STATEMENT EXECUTE FUNCTION people.f_write_history();

-- A person as its history tells: what had changed at this time or before. No row: there was no such person yet.
-- Its time of enrichment is no part of the history.
CREATE FUNCTION people.f_person_as_of(p_person_id uuid, p_at timestamptz)
RETURNS SETOF people.master
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH folded AS (
        SELECT jsonb_object_agg(e.key, e.value ORDER BY h.history_id) AS image, max(h.changed_at) AS changed_at
        FROM people.history AS h
        CROSS JOIN LATERAL jsonb_each(h.new_values) AS e
        WHERE h.person_id = p_person_id AND h.changed_at <= p_at
    )
    SELECT r.*
    FROM people.master AS p
    CROSS JOIN folded AS f
    CROSS JOIN LATERAL jsonb_populate_record(
        NULL::people.master,
        '{"pinned_fields": [], "company_domains": []}'::jsonb || f.image
        || jsonb_build_object('id', p.id, 'created_at', p.created_at, 'updated_at', f.changed_at)) AS r
    WHERE p.id = p_person_id AND f.image IS NOT NULL
$$;

COMMENT ON FUNCTION people.f_person_as_of(uuid, timestamptz) IS 'A person as its history tells of a time';

-- Only what the service calls itself; the rest is called by functions that run as their owner.
GRANT EXECUTE ON FUNCTION people.f_image, people.f_etag, people.f_person_as_of TO leadvault_app;
