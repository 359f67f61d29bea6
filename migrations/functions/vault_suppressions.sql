-- The ledger of suppressions: entering, lifting, and the statuses that follow it.
--
-- Whoever writes the ledger holds its advisory lock exclusive from the first statement on, so that no
-- promotion and no send is between its look at the ledger and its commit. That also makes entries visible
-- in the order of their ids. Everything is decided in statements after the lock, with times taken after it.
--
-- Only entries of the scopes `all` and `email` speak of the status.
--
-- people.master knows active, inactive and bounced, as the reference says, and no `unsubscribed`. There a
-- suppression that is no bounce makes the person `inactive`, which wins over `bounced`. A person who is
-- inactive for another reason (archived) stays so throughout.

-- Refuses to work on a snapshot that is older than the lock: it would not see what committed meanwhile.
CREATE FUNCTION vault.f_lock_ledger()
RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the ledger of suppressions is written in READ COMMITTED only'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock(vault.f_ledger_lock());
    RETURN clock_timestamp();
END
$$;

COMMENT ON FUNCTION vault.f_lock_ledger() IS
    'Takes the ledger for writing until the transaction ends; the time since when it is held';

-- The status of a contact that no entry speaks of any more: what it last was of its own. A contact that was
-- deleted before it was suppressed, or meanwhile, must not come back as active. The audit trail knows: the
-- newest row that shows the contact as active or inactive, before or after a change, or deletes it. Where
-- none does, the contact arrived suppressed.
CREATE FUNCTION vault.f_status_of_its_own(p_contact_id bigint)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT s.status
         FROM intake.audit_log AS a
         CROSS JOIN LATERAL (
             SELECT CASE
                 WHEN a.details #>> '{new_values,status}' IN ('active', 'inactive')
                     THEN a.details #>> '{new_values,status}'
                 WHEN a.action = 'contact_deleted' THEN 'inactive'
                 WHEN a.details #>> '{old_values,status}' IN ('active', 'inactive')
                     THEN a.details #>> '{old_values,status}' END AS status) AS s
         WHERE a.contact_id = p_contact_id AND s.status IS NOT NULL
         ORDER BY a.log_id DESC
         LIMIT 1),
        'active')
$$;

COMMENT ON FUNCTION vault.f_status_of_its_own(bigint) IS
    'The status, active or inactive, that a contact has where no suppression speaks of it';

-- Brings the contacts of addresses to the status that the ledger implies. Only a lift may weaken one: an
-- unsubscribed contact stays so whatever is entered (law 6). What has its status already is not touched
-- (law 8). The audit row names the newest entry that decided.
CREATE FUNCTION vault.f_follow_ledger(p_emails text[], p_lifting boolean, p_actor text, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM 1 FROM vault.contacts AS c
    WHERE c.email = ANY (p_emails)
    ORDER BY c.email
    FOR UPDATE;

    WITH followed AS (
        SELECT c.contact_id, c.email, c.status AS old_status,
               CASE WHEN c.status = 'unsubscribed' AND NOT p_lifting THEN c.status
                    WHEN l.status IS NOT NULL THEN l.status
                    WHEN c.status IN ('unsubscribed', 'bounced') AND p_lifting
                        THEN vault.f_status_of_its_own(c.contact_id)
                    ELSE c.status END AS status
        FROM vault.contacts AS c
        CROSS JOIN LATERAL (SELECT vault.f_suppressed_status(c.email) AS status) AS l
        WHERE c.email = ANY (p_emails)
    ), updated AS (
        UPDATE vault.contacts AS c
        SET status = f.status, updated_at = clock_timestamp()
        FROM followed AS f
        WHERE c.contact_id = f.contact_id AND f.status <> f.old_status
    )
    INSERT INTO intake.audit_log (action, contact_id, details, "timestamp")
    SELECT 'contact_updated', f.contact_id,
           jsonb_build_object(
               'actor', p_actor,
               'suppression_id', vault.f_deciding_entry(f.email, p_lifting, p_now),
               'old_values', jsonb_build_object('status', f.old_status),
               'new_values', jsonb_build_object('status', f.status)),
           p_now
    FROM followed AS f
    WHERE f.status <> f.old_status
    ORDER BY f.contact_id;

    PERFORM vault.f_follow_ledger_of_people(p_emails, p_lifting, p_actor, p_now);
END
$$;

COMMENT ON FUNCTION vault.f_follow_ledger(text[], boolean, text, timestamptz) IS
    'Brings the contacts and people of addresses to the status that the ledger implies';

-- The entry that a change of status goes back to: the newest one that was just lifted, or of those in force
-- the newest of the strongest.
CREATE FUNCTION vault.f_deciding_entry(p_email text, p_lifting boolean, p_now timestamptz)
RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.suppression_id
    FROM vault.suppressions AS s
    WHERE s.email = p_email AND s.scope IN ('all', 'email')
      AND CASE WHEN p_lifting THEN s.lifted_at = p_now ELSE s.lifted_at IS NULL END
    ORDER BY s.reason = 'bounced', s.suppression_id DESC
    LIMIT 1
$$;

COMMENT ON FUNCTION vault.f_deciding_entry(text, boolean, timestamptz) IS
    'The entry of the ledger that a change of status goes back to';

-- The same for people. A lift gives back only what the ledger took: the ledger's newest change of a person,
-- in the audit trail at the time of one of the address's entries, must have led to the status that the
-- person has now; or the person must have been made while the address was suppressed.
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
               CASE WHEN p_lifting AND NOT vault.f_person_follows_ledger(p.id, p.email, p_now) THEN p.status
                    WHEN p.status = 'inactive' AND NOT p_lifting THEN p.status
                    WHEN l.status = 'bounced' THEN 'bounced'
                    WHEN l.status IS NOT NULL THEN 'inactive'
                    WHEN p_lifting THEN 'active'
                    ELSE p.status END AS status
        FROM people.master AS p
        CROSS JOIN LATERAL (SELECT vault.f_suppressed_status(p.email) AS status) AS l
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

-- Whether a person's status is the ledger's doing. The trail has no index on people, but its rows carry the
-- very time of their entry, and times have one.
CREATE FUNCTION vault.f_person_follows_ledger(p_person_id uuid, p_email text, p_now timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT a.details #>> '{new_values,status}' = p.status
         FROM vault.suppressions AS s
         CROSS JOIN LATERAL (VALUES (s.created_at), (s.lifted_at)) AS at_ (moment)
         JOIN intake.audit_log AS a ON a."timestamp" = at_.moment
         WHERE s.email = p_email AND a.action = 'person_updated'
           AND a.details ->> 'person_id' = p_person_id::text
         ORDER BY a.log_id DESC
         LIMIT 1),
        p.created_at > (SELECT min(s.created_at) FROM vault.suppressions AS s
                        WHERE s.email = p_email AND s.lifted_at = p_now))
    FROM people.master AS p
    WHERE p.id = p_person_id
$$;

COMMENT ON FUNCTION vault.f_person_follows_ledger(uuid, text, timestamptz) IS
    'Whether a person''s status is the doing of the ledger, so that a lift may give it back';

-- Enters suppressions. One row each comes back in order: the entry that is in force, and whether this call
-- made it; of those that are named twice the first did. What is in force already stays as it is.
CREATE FUNCTION vault.f_suppress(
    p_emails text[], p_scopes text[], p_reasons text[], p_evidences text[], p_actor text)
RETURNS TABLE (suppression_id bigint, added boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_now   timestamptz;
    v_added bigint[];
    v_wrong text;
BEGIN
    -- Against a slip at psql: an entry under another spelling would hold for nobody.
    SELECT e.email INTO v_wrong
    FROM unnest(p_emails) AS e (email)
    WHERE e.email IS NULL OR (intake.f_normalize_email(e.email)).email <> e.email
    LIMIT 1;
    IF FOUND OR cardinality(p_emails) <> ANY (
        ARRAY[cardinality(p_scopes), cardinality(p_reasons), cardinality(p_evidences)]) THEN
        RAISE EXCEPTION 'f_suppress takes normalized addresses, each with scope, reason and evidence'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = coalesce(v_wrong, '');
    END IF;

    v_now := vault.f_lock_ledger();

    WITH sent AS (
        SELECT DISTINCT ON (e.email, e.scope, e.reason) e.*
        FROM unnest(p_emails, p_scopes, p_reasons, p_evidences) WITH ORDINALITY
            AS e (email, scope, reason, evidence, nth)
        ORDER BY e.email, e.scope, e.reason, e.nth
    ), added AS (
        INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by, created_at)
        SELECT e.email, e.scope, e.reason, e.evidence, p_actor, v_now
        FROM sent AS e
        -- Not by ON CONFLICT, which would use up an id each time. Under the lock nobody else enters one.
        WHERE NOT EXISTS (
            SELECT FROM vault.suppressions AS s
            WHERE s.email = e.email AND s.scope = e.scope AND s.reason = e.reason AND s.lifted_at IS NULL)
        ORDER BY e.nth
        RETURNING suppression_id
    )
    SELECT coalesce(array_agg(a.suppression_id), '{}') INTO STRICT v_added FROM added AS a;

    INSERT INTO intake.audit_log (action, contact_id, details, "timestamp")
    SELECT 'suppression_added', c.contact_id,
           jsonb_build_object('actor', p_actor, 'suppression_id', s.suppression_id, 'email', s.email,
                              'scope', s.scope, 'reason', s.reason),
           v_now
    FROM vault.suppressions AS s
    LEFT JOIN vault.contacts AS c ON c.email = s.email
    WHERE s.suppression_id = ANY (v_added)
    ORDER BY s.suppression_id;

    -- Also for what was in force: whoever repeats a suppression may rely on the status afterwards.
    PERFORM vault.f_follow_ledger(
        ARRAY(SELECT DISTINCT e.email FROM unnest(p_emails, p_scopes) AS e (email, scope)
              WHERE e.scope IN ('all', 'email')),
        false, p_actor, v_now);

    RETURN QUERY
    SELECT s.suppression_id,
           s.suppression_id = ANY (v_added)
           AND row_number() OVER (PARTITION BY s.suppression_id ORDER BY e.nth) = 1
    FROM unnest(p_emails, p_scopes, p_reasons) WITH ORDINALITY AS e (email, scope, reason, nth)
    JOIN vault.suppressions AS s
        ON s.email = e.email AND s.scope = e.scope AND s.reason = e.reason AND s.lifted_at IS NULL
    ORDER BY e.nth;
END
$$;

COMMENT ON FUNCTION vault.f_suppress(text[], text[], text[], text[], text) IS
    'Enters suppressions into the ledger; contacts and people follow. One row each, in order';

-- Lifts every entry in force of an address with exactly that scope, and returns them.
CREATE FUNCTION vault.f_unsuppress(p_email text, p_scope text, p_evidence text, p_actor text)
RETURNS SETOF vault.suppressions
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now    timestamptz;
    v_lifted bigint[];
BEGIN
    IF coalesce(btrim(p_evidence, E' \t\n\r'), '') = '' THEN
        RAISE EXCEPTION 'lifting a suppression needs evidence' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    v_now := vault.f_lock_ledger();

    WITH lifted AS (
        UPDATE vault.suppressions AS s
        SET lifted_at = v_now, lifted_by = p_actor, lift_evidence = p_evidence
        WHERE s.email = p_email AND s.scope = p_scope AND s.lifted_at IS NULL
        RETURNING s.suppression_id
    )
    SELECT coalesce(array_agg(l.suppression_id), '{}') INTO STRICT v_lifted FROM lifted AS l;
    IF cardinality(v_lifted) = 0 THEN
        RETURN;
    END IF;

    INSERT INTO intake.audit_log (action, contact_id, details, "timestamp")
    SELECT 'suppression_lifted', c.contact_id,
           jsonb_build_object('actor', p_actor, 'suppression_id', s.suppression_id, 'email', s.email,
                              'scope', s.scope, 'reason', s.reason),
           v_now
    FROM vault.suppressions AS s
    LEFT JOIN vault.contacts AS c ON c.email = s.email
    WHERE s.suppression_id = ANY (v_lifted)
    ORDER BY s.suppression_id;

    IF p_scope IN ('all', 'email') THEN
        PERFORM vault.f_follow_ledger(ARRAY[p_email], true, p_actor, v_now);
    END IF;

    RETURN QUERY
    SELECT s.* FROM vault.suppressions AS s
    WHERE s.suppression_id = ANY (v_lifted)
    ORDER BY s.suppression_id;
END
$$;

COMMENT ON FUNCTION vault.f_unsuppress(text, text, text, text) IS
    'Lifts the suppressions of an address and scope, with evidence; contacts and people follow';

GRANT EXECUTE ON FUNCTION vault.f_suppress, vault.f_unsuppress TO leadvault_app;
