-- Promotion, chunk by chunk: which loads are next, and what is done with them. The parts are in
-- vault_promotion.sql; locks as vault.sql says.

-- The next pending loads after one, up to another, in order; of a batch, or of all: a chunk. It ends at
-- p_most loads or 32 MiB of rows, so that no transaction is longer than its loads are many.
--
-- Several workers share a walk by email: of p_parts parts each takes one, so that the loads of one email
-- stay in order. Sorting and bitmaps are off, so that idx_raw_loads_pending is walked from the cursor on,
-- whatever statistics say of a table that was just filled: ten million pending loads are not read for each
-- chunk.
CREATE FUNCTION vault.f_pending_loads(
    p_batch_id text, p_after bigint, p_last bigint, p_part integer, p_parts integer, p_most integer)
RETURNS bigint[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT m.load_id
        FROM (
            SELECT p.load_id, sum(p.bytes) OVER (ORDER BY p.load_id ROWS UNBOUNDED PRECEDING) - p.bytes AS before
            FROM (
                SELECT l.load_id,
                       -- Small values are stored as they are; what is compressed has to be looked at.
                       CASE WHEN pg_column_size(l.raw_data) < 2000 THEN pg_column_size(l.raw_data)
                            ELSE octet_length(l.raw_data::text) END AS bytes
                FROM intake.raw_loads AS l
                WHERE l.status = 'pending' AND l.load_id > p_after AND l.load_id <= p_last
                  AND (p_batch_id IS NULL OR l.batch_id || '' = p_batch_id)
                  AND (p_parts = 1 OR p_part = abs(hashtextextended(
                      coalesce(l.metadata ->> 'normalized_email', l.raw_data ->> 'email', ''), 0) % p_parts))
                ORDER BY l.load_id
                LIMIT p_most
            ) AS p
        ) AS m
        WHERE m.before < 33554432);
END
$$;

COMMENT ON FUNCTION vault.f_pending_loads(text, bigint, bigint, integer, integer, integer) IS
    'The next pending loads of a batch, or of all, in order: a chunk';

-- The emails of loads that are pending: locked, and numbered as the n-th load of their email. Those that
-- cannot become contacts have none. Loads that others hold are left to them.
CREATE FUNCTION vault.f_lock_pending(p_load_ids bigint[])
RETURNS TABLE (load_id bigint, email text, nth bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
    RETURN QUERY
    -- The normalized emails: intake kept the spelling that SQL could not derive again; a row that came past
    -- it is read as f_ingest_json would have. A load without an email cannot become a contact.
    WITH locked AS MATERIALIZED (
        SELECT l.load_id,
               CASE WHEN vault.f_is_too_large(l.raw_data, l.raw_data -> 'tags') THEN NULL
                    WHEN l.metadata ? 'lane' AND octet_length(e.email) <= 254 THEN e.email
                    ELSE (intake.f_check_row(l.raw_data)).email END AS email
        FROM intake.raw_loads AS l
        CROSS JOIN LATERAL coalesce(l.metadata ->> 'normalized_email', l.raw_data ->> 'email') AS e (email)
        -- Not an expression of an index: where statistics say that little is pending, the planner would rather
        -- read all that is, for each chunk.
        WHERE l.load_id = ANY (p_load_ids) AND l.status || '' = 'pending'
        FOR UPDATE OF l SKIP LOCKED
    )
    SELECT k.load_id, k.email, row_number() OVER (PARTITION BY k.email ORDER BY k.load_id) FROM locked AS k;
END
$$;

COMMENT ON FUNCTION vault.f_lock_pending(bigint[]) IS
    'Locks loads that are pending; their emails, and the how manieth of its email each is';

-- Promotes loads that are pending. The body of PromoteContacts and of f_promote_contacts. Totals count
-- loads: promoted + updated + unchanged + failed. Loads that others hold are left to them.
-- What is not begun when patience ends is postponed: it is still pending, and the caller comes again.
CREATE FUNCTION vault.f_promote_loads(
    p_load_ids bigint[], p_patience interval, p_actor text,
    OUT promoted bigint, OUT updated bigint, OUT unchanged bigint, OUT failed bigint, OUT postponed bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET work_mem = '64MB'
SET jit = off
AS $$
DECLARE
    v_started timestamptz := clock_timestamp();
    v_good    record;
    v_loads   bigint[];
    v_emails  text[];
    v_made    bigint[] := '{}';
    v_merged  record;
    v_refused bigint[] := '{}';
BEGIN
    -- On an older snapshot the lock would show nothing of what committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'loads are promoted in READ COMMITTED only'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(vault.f_ledger_lock());

    SELECT coalesce(array_agg(p.load_id) FILTER (WHERE p.email IS NOT NULL), '{}') AS loads,
           coalesce(array_agg(p.email) FILTER (WHERE p.email IS NOT NULL), '{}') AS emails,
           array_agg(p.nth) FILTER (WHERE p.email IS NOT NULL) AS nths,
           coalesce(max(p.nth) FILTER (WHERE p.email IS NOT NULL), 0) AS last_nth,
           coalesce(array_agg(p.load_id) FILTER (WHERE p.email IS NULL), '{}') AS bad
    INTO STRICT v_good
    FROM vault.f_lock_pending(p_load_ids) AS p;

    promoted := 0;
    updated := 0;
    unchanged := 0;
    postponed := 0;
    failed := vault.f_refuse_loads(v_good.bad, p_actor);

    -- Of several loads of one email each sees what the one before it did, so that the later wins.
    FOR v_nth IN 1 .. v_good.last_nth LOOP
        IF v_nth > 1 AND clock_timestamp() - v_started > p_patience THEN
            SELECT count(*) INTO STRICT postponed FROM unnest(v_good.nths) AS nth WHERE nth >= v_nth;
            EXIT;
        END IF;
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
        v_refused := v_refused || v_merged.refused;
    END LOOP;
    failed := failed + vault.f_refuse_loads(v_refused, p_actor);
END
$$;

COMMENT ON FUNCTION vault.f_promote_loads(bigint[], interval, text) IS
    'Promotes loads that are pending; totals count loads';

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
        NULL, v_actor);
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
    vault.f_fail_loads, vault.f_pending_loads, vault.f_promote_loads, vault.f_promote_contacts
    TO leadvault_app;
