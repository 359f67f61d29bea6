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
-- inactive for another reason (archived) stays so throughout, and one who is archived while suppressed comes back
-- as inactive.

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

-- Since when entries speak of the status of an address without a gap, up to now or to the lift that is being
-- made: its oldest entry that was not entered under another.
CREATE FUNCTION vault.f_suppressed_since(p_email text)
RETURNS timestamptz
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT max(s.created_at)
    FROM vault.suppressions AS s
    WHERE s.email = p_email AND s.scope IN ('all', 'email')
      AND NOT EXISTS (
          SELECT FROM vault.suppressions AS older
          WHERE older.email = s.email AND older.scope IN ('all', 'email')
            AND older.created_at < s.created_at
            AND (older.lifted_at IS NULL OR older.lifted_at > s.created_at))
$$;

COMMENT ON FUNCTION vault.f_suppressed_since(text) IS
    'Since when entries of the ledger speak of the status of an address without a gap';

-- What a lift gives back to a contact: the status that the ledger took. NULL: the status that the contact has
-- is not the ledger's doing, and no lift turns it back (law 6).
--
-- The audit trail knows. Of what the ledger did to the contact since its address is suppressed, the newest
-- must have led to the status that the contact has; and it took over in the newest row that does not go on
-- where the one before ended. Who was promoted suppressed would have arrived active. Who was deleted,
-- before or meanwhile, comes back as inactive.
CREATE FUNCTION vault.f_status_before_ledger(p_contact vault.contacts)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH done AS (
        SELECT a.log_id,
               CASE a.action WHEN 'contact_promoted' THEN 'active'
                             ELSE a.details #>> '{old_values,status}' END AS old_status,
               a.details #>> '{new_values,status}' AS new_status
        FROM intake.audit_log AS a
        WHERE a.contact_id = p_contact.contact_id
          AND a."timestamp" >= (SELECT vault.f_suppressed_since(p_contact.email))
          AND (a.action = 'contact_promoted' OR (a.action = 'contact_updated' AND a.details ? 'suppression_id'))
    ), linked AS (
        SELECT *, lag(new_status) OVER (ORDER BY log_id) AS before FROM done
    )
    SELECT CASE WHEN vault.f_is_deleted(p_contact.contact_id) THEN 'inactive'
                ELSE (SELECT l.old_status FROM linked AS l
                      WHERE l.before IS DISTINCT FROM l.old_status
                      ORDER BY l.log_id DESC LIMIT 1) END
    WHERE p_contact.status = (SELECT d.new_status FROM done AS d ORDER BY d.log_id DESC LIMIT 1)
$$;

COMMENT ON FUNCTION vault.f_status_before_ledger(vault.contacts) IS
    'The status that the ledger took from a contact, so that a lift may give it back';

-- Brings the contacts of addresses to the status that the ledger implies. Only a lift may weaken one, and only
-- what the ledger did: an unsubscribed contact stays so whatever is entered (law 6). What has its status
-- already is not touched (law 8). The audit row names the newest entry that decided.
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
               CASE WHEN c.status = 'unsubscribed' AND b.status IS NULL THEN c.status
                    ELSE coalesce(l.status, b.status, c.status) END AS status
        FROM vault.contacts AS c
        CROSS JOIN LATERAL (SELECT vault.f_suppressed_status(c.email) AS status) AS l
        CROSS JOIN LATERAL (
            SELECT CASE WHEN p_lifting THEN vault.f_status_before_ledger(c) END AS status) AS b
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

-- Enters suppressions. One row each comes back in order: the entry that is in force, and whether this call
-- made it; of those that are named twice the first did. What is in force already stays as it is.
CREATE FUNCTION vault.f_suppress(
    p_emails text[], p_scopes text[], p_reasons text[], p_evidences text[], p_actor text)
RETURNS TABLE (suppression_id bigint, added boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As marketing.f_record_outreach: a plan that was made while there was little would read all there is for each call.
-- IS TRUE keeps it from the indexes of scopes and reasons; here and below.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_material = off
SET jit = off
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
            WHERE s.email = e.email AND (s.scope = e.scope AND s.reason = e.reason) IS TRUE AND s.lifted_at IS NULL)
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
    CROSS JOIN LATERAL (
        SELECT s.suppression_id FROM vault.suppressions AS s
        WHERE s.email = e.email AND (s.scope = e.scope AND s.reason = e.reason) IS TRUE AND s.lifted_at IS NULL
        -- Looked for once an address, not the addresses once an entry.
        OFFSET 0) AS s
    ORDER BY e.nth;
    PERFORM intake.f_commit_as_write();
END
$$;

COMMENT ON FUNCTION vault.f_suppress(text[], text[], text[], text[], text) IS
    'Enters suppressions into the ledger; contacts and people follow. One row each, in order';

-- Lifts every entry in force of an address with exactly that scope, and returns them.
CREATE FUNCTION vault.f_unsuppress(p_email text, p_scope text, p_evidence text, p_actor text)
RETURNS SETOF vault.suppressions
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_material = off
SET jit = off
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
        WHERE s.email = p_email AND (s.scope = p_scope AND s.lifted_at IS NULL) IS TRUE
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
