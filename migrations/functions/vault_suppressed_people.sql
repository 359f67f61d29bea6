-- What the ledger of suppressions does to people. Locks, and what a status of theirs means, as vault_suppressions.sql
-- says.

-- Whether a person was archived, also where its status says that it bounces: an archiving is on record, and the
-- history, which has every change of a status, shows nobody active since.
CREATE FUNCTION vault.f_is_archived(p_person_id uuid)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT NOT EXISTS (
                    SELECT FROM people.history AS h
                    WHERE h.person_id = p_person_id AND h.changed_at > a."timestamp"
                      AND h.new_values ->> 'status' = 'active')
         FROM intake.audit_log AS a
         WHERE a.action = 'person_archived' AND a.details ->> 'person_id' = p_person_id::text
         ORDER BY a.log_id DESC
         LIMIT 1),
        false)
$$;

COMMENT ON FUNCTION vault.f_is_archived(uuid) IS
    'Whether a person was archived, also where its status says that it bounces';

-- As vault.f_status_before_ledger for people, who arrive suppressed without a row of the trail: whoever was made while the address
-- was suppressed would have been active, and has what the ledger implied then. Who was archived, before or
-- meanwhile, comes back as inactive.
--
-- The trail has no index on people, but its rows carry the very time of their entry, and times have one.
CREATE FUNCTION vault.f_person_status_before_ledger(p_person people.master)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH entries AS MATERIALIZED (
        SELECT s.* FROM vault.suppressions AS s
        WHERE s.email = p_person.email AND s.scope IN ('all', 'email')
    ), done AS (
        SELECT a.log_id, a.details #>> '{old_values,status}' AS old_status,
               a.details #>> '{new_values,status}' AS new_status
        FROM intake.audit_log AS a
        WHERE a."timestamp" = ANY (ARRAY(
                  SELECT created_at FROM entries UNION SELECT lifted_at FROM entries))
          AND a."timestamp" >= (SELECT vault.f_suppressed_since(p_person.email))
          AND a.action = 'person_updated' AND a.details ->> 'person_id' = p_person.id::text
        UNION ALL
        -- Before every row of the trail.
        SELECT 0, 'active', CASE WHEN bool_or(reason <> 'bounced') THEN 'inactive' ELSE 'bounced' END
        FROM entries
        WHERE created_at < p_person.created_at AND (lifted_at IS NULL OR lifted_at > p_person.created_at)
          AND p_person.created_at > vault.f_suppressed_since(p_person.email)
        HAVING count(*) > 0
    ), linked AS (
        SELECT *, lag(new_status) OVER (ORDER BY log_id) AS before FROM done
    )
    SELECT CASE WHEN vault.f_is_archived(p_person.id) THEN 'inactive'
                ELSE (SELECT l.old_status FROM linked AS l
                      WHERE l.before IS DISTINCT FROM l.old_status
                      ORDER BY l.log_id DESC LIMIT 1) END
    WHERE p_person.status = (SELECT d.new_status FROM done AS d ORDER BY d.log_id DESC LIMIT 1)
$$;

COMMENT ON FUNCTION vault.f_person_status_before_ledger(people.master) IS
    'The status that the ledger took from a person, so that a lift may give it back';

-- Brings people along, as vault.f_follow_ledger does contacts.
CREATE FUNCTION vault.f_follow_ledger_of_people(
    p_emails text[], p_lifting boolean, p_actor text, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- For the history that the database writes.
    PERFORM set_config('leadvault.actor', p_actor, true);

    PERFORM 1 FROM people.master AS p
    WHERE p.email = ANY (p_emails)
    ORDER BY p.id
    FOR UPDATE;

    WITH followed AS (
        SELECT p.id, p.email, p.status AS old_status,
               CASE WHEN p.status = 'inactive' AND b.status IS NULL THEN p.status
                    WHEN l.status = 'bounced' THEN 'bounced'
                    WHEN l.status IS NOT NULL THEN 'inactive'
                    ELSE coalesce(b.status, p.status) END AS status
        FROM people.master AS p
        CROSS JOIN LATERAL (SELECT vault.f_suppressed_status(p.email) AS status) AS l
        CROSS JOIN LATERAL (
            SELECT CASE WHEN p_lifting THEN vault.f_person_status_before_ledger(p) END AS status) AS b
        WHERE p.email = ANY (p_emails)
    ), updated AS (
        UPDATE people.master AS p
        SET status = f.status, updated_at = clock_timestamp()
        FROM followed AS f
        WHERE p.id = f.id AND f.status <> f.old_status
    )
    INSERT INTO intake.audit_log (action, details, "timestamp")
    SELECT 'person_updated',
           jsonb_build_object(
               'actor', p_actor,
               'person_id', f.id,
               'suppression_id', vault.f_deciding_entry(f.email, p_lifting, p_now),
               'old_values', jsonb_build_object('status', f.old_status),
               'new_values', jsonb_build_object('status', f.status)),
           p_now
    FROM followed AS f
    WHERE f.status <> f.old_status
    ORDER BY f.id;
END
$$;

COMMENT ON FUNCTION vault.f_follow_ledger_of_people(text[], boolean, text, timestamptz) IS
    'Brings the people of addresses to the status that the ledger implies';
