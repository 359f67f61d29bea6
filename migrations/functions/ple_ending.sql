-- How entries of the enrichment queue end, come back, and what the sweep does.

-- What a token is to its entry: held; completed or failed, where this very lease ended so; or lost.
CREATE FUNCTION ple.f_standing(p_entry ple.enrichment_queue, p_token bigint)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_entry.lease_token <> p_token THEN 'lost'
            WHEN p_entry.state = 'leased' THEN 'held'
            WHEN p_entry.state = 'completed' THEN 'completed'
            WHEN p_entry.state = 'dead' OR (p_entry.state = 'queued' AND p_entry.failures > 0) THEN 'failed'
            ELSE 'lost' END;

COMMENT ON FUNCTION ple.f_standing(ple.enrichment_queue, bigint) IS
    'What a lease token is to its entry: held, completed, failed or lost';

-- Completes a lease. What was found is in p_changes, and in p_profile where something is known beyond the
-- fields; both are NULL where nothing was, and p_reason says why. No row: the person is not on the queue.
-- Outcomes: completed, also of a repeated call; lost and no_company, of which nothing was done.
CREATE FUNCTION ple.f_complete(
    p_person_id uuid, p_token bigint, p_changes jsonb, p_profile jsonb, p_skills text[],
    p_experience jsonb, p_education jsonb, p_fetched_at timestamptz, p_ttl interval, p_reason text,
    p_actor text)
RETURNS TABLE (outcome text, entry ple.enrichment_queue, person people.master)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_held boolean;
BEGIN
    -- A first look without a lock: who comes too late must hold up neither the person nor the entry.
    SELECT q.* INTO entry FROM ple.enrichment_queue AS q WHERE q.person_id = p_person_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF ple.f_standing(entry, p_token) = 'held' THEN
        v_held := people.f_hold_company(p_changes);
        PERFORM 1 FROM people.master AS p WHERE p.id = p_person_id FOR NO KEY UPDATE;
        SELECT q.* INTO STRICT entry
        FROM ple.enrichment_queue AS q
        WHERE q.person_id = p_person_id
        FOR UPDATE;
    END IF;

    outcome := CASE ple.f_standing(entry, p_token)
        WHEN 'completed' THEN 'completed'
        WHEN 'held' THEN CASE WHEN v_held THEN 'held' ELSE 'no_company' END
        ELSE 'lost' END;
    IF outcome = 'held' THEN
        IF p_changes IS NOT NULL THEN
            PERFORM people.f_enrich_person(p_person_id, p_changes, p_actor);
        END IF;
        IF p_profile IS NOT NULL THEN
            PERFORM people.f_put_intelligence(
                p_person_id, p_profile, p_skills, p_experience, p_education, p_fetched_at, p_ttl);
        END IF;
        UPDATE ple.enrichment_queue AS q
        SET state = 'completed', lease_expires_at = NULL, last_error = p_reason,
            ended_at = clock_timestamp()
        WHERE q.person_id = p_person_id
        RETURNING q.* INTO STRICT entry;
        outcome := 'completed';
    ELSIF outcome = 'completed' THEN
        PERFORM intake.f_commit_as_write();
    END IF;
    SELECT p.* INTO STRICT person FROM people.master AS p WHERE p.id = p_person_id;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION ple.f_complete(
    uuid, bigint, jsonb, jsonb, text[], jsonb, jsonb, timestamptz, interval, text, text) IS
    'Ends a lease with what was found, or why nothing was';

-- Ends a lease without a result: the person waits for p_base, doubled with each failure before, at most for
-- p_cap; or the entry is dead. No row: the person is not on the queue. Outcomes: failed, also of a repeated
-- call; lost, of which nothing was done.
CREATE FUNCTION ple.f_fail(
    p_person_id uuid, p_token bigint, p_error text, p_permanent boolean, p_base interval, p_cap interval)
RETURNS TABLE (outcome text, entry ple.enrichment_queue)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now  timestamptz;
    v_dead boolean;
BEGIN
    SELECT q.* INTO entry FROM ple.enrichment_queue AS q WHERE q.person_id = p_person_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF ple.f_standing(entry, p_token) = 'held' THEN
        SELECT q.* INTO STRICT entry
        FROM ple.enrichment_queue AS q
        WHERE q.person_id = p_person_id
        FOR UPDATE;
    END IF;
    outcome := ple.f_standing(entry, p_token);
    IF outcome = 'held' THEN
        v_now := clock_timestamp();
        v_dead := p_permanent OR entry.failures + 1 >= entry.max_failures;
        UPDATE ple.enrichment_queue AS q
        SET state = CASE WHEN v_dead THEN 'dead' ELSE 'queued' END,
            in_line = false, failures = q.failures + 1, last_error = p_error, lease_expires_at = NULL,
            -- In seconds: an interval of years, doubled a few times, is none any more.
            available_at = v_now + make_interval(secs => least(
                extract(epoch FROM p_base)::double precision * power(2, least(q.failures, 30)),
                extract(epoch FROM p_cap)::double precision)),
            ended_at = CASE WHEN v_dead THEN v_now END
        WHERE q.person_id = p_person_id
        RETURNING q.* INTO STRICT entry;
        outcome := 'failed';
    ELSIF outcome = 'failed' THEN
        PERFORM intake.f_commit_as_write();
    ELSIF outcome = 'completed' THEN
        outcome := 'lost';
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION ple.f_fail(uuid, bigint, text, boolean, interval, interval) IS
    'Ends a lease without a result: tried again later, or dead';

-- Lets dead entries wait anew; one outcome for each person, in order: revived, not_dead, not_found or
-- suppressed.
CREATE FUNCTION ple.f_revive(p_person_ids uuid[], p_max_failures integer, p_actor text)
RETURNS TABLE (outcome text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As marketing.f_record_outreach: a plan that was made while there was little would read all there is for each call.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_material = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    v_now CONSTANT timestamptz := ple.f_share_ledger();
BEGIN
    PERFORM 1 FROM ple.enrichment_queue AS q
    WHERE q.person_id = ANY (p_person_ids)
    ORDER BY q.person_id
    FOR UPDATE;

    RETURN QUERY
    SELECT CASE WHEN q.person_id IS NULL THEN 'not_found'
                WHEN q.state <> 'dead' THEN 'not_dead'
                WHEN ple.f_is_suppressed(p.email) THEN 'suppressed'
                -- Named again, it is not dead any more.
                WHEN row_number() OVER (PARTITION BY s.person_id ORDER BY s.nth) > 1 THEN 'not_dead'
                ELSE 'revived' END
    FROM unnest(p_person_ids) WITH ORDINALITY AS s (person_id, nth)
    LEFT JOIN ple.enrichment_queue AS q ON q.person_id = s.person_id
    LEFT JOIN people.master AS p ON p.id = s.person_id
    ORDER BY s.nth;

    UPDATE ple.enrichment_queue AS q
    SET state = 'queued', in_line = true, attempts = 0, failures = 0, max_failures = p_max_failures,
        last_error = NULL, ended_at = NULL, available_at = v_now, enqueued_at = v_now, enqueued_by = p_actor
    FROM people.master AS p
    -- An expression: not to be looked for among all the dead.
    WHERE q.person_id = ANY (p_person_ids) AND q.state || '' = 'dead' AND p.id = q.person_id
      AND NOT ple.f_is_suppressed(p.email);
END
$$;

COMMENT ON FUNCTION ple.f_revive(uuid[], integer, text) IS
    'Lets dead entries of the enrichment queue wait anew; one outcome each, in order';

-- One chunk of the sweep: purges stale intelligence, enqueues the people who are left without any, and
-- lets those wait again whose suppression was lifted. That something was known of a person says that it can be
-- found: a dead entry, which is that of an earlier need, begins afresh, once for each purge. Any number of
-- servers may do it at once: what another one works on is skipped, so that nothing is done twice. The suppressed are
-- looked through in the order of people, p_most a chunk: those after p_after, as far as looked_to. A chunk that did
-- nothing and looked no further is the last.
CREATE FUNCTION ple.f_sweep(
    p_most integer, p_priority integer, p_max_failures integer, p_actor text,
    p_after uuid DEFAULT '00000000-0000-0000-0000-000000000000')
RETURNS TABLE (purged bigint, enqueued bigint, returned bigint, looked_to uuid)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_now    CONSTANT timestamptz := ple.f_share_ledger();
    v_people uuid[];
BEGIN
    -- The people are locked, too: whoever stores what is known of one, or completes its enrichment, is
    -- either done, or comes after this.
    WITH stale AS MATERIALIZED (
        SELECT i.id
        FROM people.intelligence AS i
        JOIN people.master AS p ON p.id = i.person_id
        WHERE i.stale_at <= v_now
        ORDER BY i.stale_at
        LIMIT p_most
        FOR NO KEY UPDATE OF p SKIP LOCKED
        FOR UPDATE OF i SKIP LOCKED
    ), gone AS (
        DELETE FROM people.intelligence AS i
        USING stale AS s
        WHERE i.id = s.id
        RETURNING i.person_id
    )
    SELECT count(*), coalesce(array_agg(DISTINCT g.person_id), '{}') INTO STRICT purged, v_people
    FROM gone AS g;

    v_people := ARRAY(
        SELECT u.person_id
        FROM unnest(v_people) AS u (person_id)
        WHERE NOT EXISTS (
            SELECT FROM people.intelligence AS i WHERE i.person_id = u.person_id AND i.stale_at > v_now)
        ORDER BY u.person_id);

    SELECT count(*) FILTER (WHERE e.outcome = 'enqueued') INTO STRICT enqueued
    FROM ple.f_enqueue(v_people, array_fill(p_priority, ARRAY[cardinality(v_people)]), p_max_failures,
                       p_actor, true) AS e;

    WITH page AS MATERIALIZED (
        SELECT q.person_id
        FROM ple.enrichment_queue AS q
        WHERE q.state = 'suppressed' AND q.person_id > p_after
        ORDER BY q.person_id
        LIMIT p_most
    ), lifted AS MATERIALIZED (
        SELECT q.person_id
        FROM page AS n
        JOIN ple.enrichment_queue AS q ON q.person_id = n.person_id
        JOIN people.master AS p ON p.id = q.person_id
        WHERE q.state = 'suppressed' AND NOT ple.f_is_suppressed(p.email)
        FOR UPDATE OF q SKIP LOCKED
    ), back AS (
        UPDATE ple.enrichment_queue AS q
        SET state = 'queued'
        FROM lifted AS l
        WHERE q.person_id = l.person_id
        RETURNING q.person_id
    )
    SELECT (SELECT count(*) FROM back),
           coalesce((SELECT n.person_id FROM page AS n ORDER BY n.person_id DESC LIMIT 1), p_after)
    INTO STRICT returned, looked_to;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION ple.f_sweep(integer, integer, integer, text, uuid) IS
    'One chunk of the sweep: purges stale intelligence, enqueues its people, returns the unsuppressed';

GRANT EXECUTE ON FUNCTION ple.f_complete, ple.f_fail, ple.f_revive, ple.f_sweep TO leadvault_app;
