-- The enrichment queue: who is to be enriched, by whom, until when.
--
-- Locks are taken in one order: the ledger's advisory lock, that of the line, people, intelligence, entries of
-- the queue by person. A lease takes entries with SKIP LOCKED and waits for no other lease, so that any number of
-- workers can lease at once. Whoever puts people on the queue inserts the new ones first and locks the old ones
-- then, both by person: two of them that meet never hold what the other one waits for.
--
-- A lease is held by its token and nothing else: an entry that was leased again, or that ended, has no
-- use for an older one. The token never falls, also when an entry is enqueued or revived.

-- Takes the ledger for reading: a suppression that commits is seen by the next statement, one that did not
-- waits until this transaction is over. The time since when it is held.
CREATE FUNCTION ple.f_share_ledger()
RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- On an older snapshot the lock would show nothing of what committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the enrichment queue works in READ COMMITTED only'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(vault.f_ledger_lock());
    RETURN clock_timestamp();
END
$$;

COMMENT ON FUNCTION ple.f_share_ledger() IS
    'Takes the ledger of suppressions for reading until the transaction ends; the time since when';

-- Only a suppression of all channels forbids to look somebody up.
CREATE FUNCTION ple.f_is_suppressed(p_email text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM vault.suppressions AS s
        -- IS TRUE keeps the planner from the index of scopes: right after a list was loaded it has no statistics.
        WHERE s.email = p_email AND (s.scope = 'all') IS TRUE AND s.lifted_at IS NULL)
$$;

COMMENT ON FUNCTION ple.f_is_suppressed(text) IS
    'Whether a suppression of all channels is in force for an address';

-- Puts people on the queue; one outcome for each, in order, as if they had come one by one: enqueued,
-- raised, already_queued, not_found, suppressed or dead. p_anew says that the need for them is a new one,
-- which nobody will tell of a second time: the suppressed ones get an entry, too, which waits for the
-- suppression to be lifted, and a dead entry, which is that of an earlier need, begins afresh. One that waits or is
-- with a worker keeps its place, its counts and its backoff, but may fail as often again: it answers for both needs.
CREATE FUNCTION ple.f_enqueue(
    p_person_ids uuid[], p_priorities integer[], p_max_failures integer, p_actor text,
    p_anew boolean DEFAULT false)
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
    v_now  CONSTANT timestamptz := ple.f_share_ledger();
    v_made uuid[];
BEGIN
    WITH made AS (
        INSERT INTO ple.enrichment_queue AS q
            (person_id, state, priority, max_failures, available_at, enqueued_at, enqueued_by)
        SELECT p.id, CASE WHEN l.suppressed THEN 'suppressed' ELSE 'queued' END, max(s.priority),
               p_max_failures, v_now, v_now, p_actor
        FROM unnest(p_person_ids, p_priorities) AS s (person_id, priority)
        JOIN people.master AS p ON p.id = s.person_id
        CROSS JOIN LATERAL (SELECT ple.f_is_suppressed(p.email) AS suppressed) AS l
        WHERE p_anew OR NOT l.suppressed
        GROUP BY p.id, l.suppressed
        ORDER BY p.id
        ON CONFLICT (person_id) DO NOTHING
        RETURNING q.person_id
    )
    SELECT coalesce(array_agg(m.person_id), '{}') INTO STRICT v_made FROM made AS m;

    PERFORM 1 FROM ple.enrichment_queue AS q
    WHERE q.person_id = ANY (p_person_ids)
    ORDER BY q.person_id
    FOR UPDATE;

    RETURN QUERY SELECT o.outcome
    FROM ple.f_enqueue_outcomes(p_person_ids, p_priorities, v_made, v_now, p_anew) AS o;

    -- Here and below, a state as an expression: the others of that state are not to be looked through.
    -- Who waits: the priority may rise.
    UPDATE ple.enrichment_queue AS q
    SET priority = s.priority
    FROM (SELECT s.person_id, max(s.priority) AS priority
          FROM unnest(p_person_ids, p_priorities) AS s (person_id, priority)
          GROUP BY s.person_id) AS s
    JOIN people.master AS p ON p.id = s.person_id
    WHERE q.person_id = s.person_id AND q.priority < s.priority
      AND (q.state IN ('queued', 'suppressed') OR q.state = 'leased' AND q.available_at <= v_now)
      AND NOT ple.f_is_suppressed(p.email);

    -- Who failed at an earlier need: as if it had not, for the new one. The failures stay, since they say how long
    -- to wait for the next attempt, and whether a repeated call is one.
    UPDATE ple.enrichment_queue AS q
    SET max_failures = q.failures + p_max_failures
    WHERE p_anew AND q.person_id = ANY (p_person_ids) AND q.state || '' IN ('queued', 'leased', 'suppressed')
      AND q.failures > 0 AND q.max_failures < q.failures + p_max_failures;

    -- Who was set aside, and whose suppression was lifted: waits on, since as long as before.
    UPDATE ple.enrichment_queue AS q
    SET state = 'queued'
    FROM people.master AS p
    WHERE q.person_id = ANY (p_person_ids) AND p.id = q.person_id AND q.state || '' = 'suppressed'
      AND NOT ple.f_is_suppressed(p.email);

    -- Whose enrichment was completed, or is needed anew: waits anew.
    UPDATE ple.enrichment_queue AS q
    SET state = CASE WHEN l.suppressed THEN 'suppressed' ELSE 'queued' END, priority = s.priority,
        in_line = true, attempts = 0, failures = 0, max_failures = p_max_failures, last_error = NULL,
        ended_at = NULL, available_at = v_now, enqueued_at = v_now, enqueued_by = p_actor
    FROM (SELECT s.person_id, max(s.priority) AS priority
          FROM unnest(p_person_ids, p_priorities) AS s (person_id, priority)
          GROUP BY s.person_id) AS s
    JOIN people.master AS p ON p.id = s.person_id
    CROSS JOIN LATERAL (SELECT ple.f_is_suppressed(p.email) AS suppressed) AS l
    WHERE q.person_id = s.person_id AND (q.state = 'completed' OR (p_anew AND q.state = 'dead'))
      AND (p_anew OR NOT l.suppressed);
END
$$;

COMMENT ON FUNCTION ple.f_enqueue(uuid[], integer[], integer, text, boolean) IS
    'Puts people on the enrichment queue; one outcome each, in order';

-- What enqueueing does, seen before it is done: the entries are locked, and those of p_made are new. Of one
-- who is named twice, the second time finds what the first left.
CREATE FUNCTION ple.f_enqueue_outcomes(
    p_person_ids uuid[], p_priorities integer[], p_made uuid[], p_now timestamptz, p_anew boolean)
RETURNS TABLE (outcome text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
               WHEN p.id IS NULL THEN 'not_found'
               WHEN ple.f_is_suppressed(p.email) THEN 'suppressed'
               WHEN q.state = 'dead' AND NOT p_anew THEN 'dead'
               WHEN s.before IS NULL
                    AND (q.state IN ('completed', 'suppressed', 'dead') OR p.id = ANY (p_made))
                   THEN 'enqueued'
               WHEN q.state = 'leased' AND q.available_at > p_now THEN 'already_queued'
               WHEN s.priority > greatest(
                   s.before,
                   CASE WHEN q.state NOT IN ('completed', 'dead') AND p.id <> ALL (p_made)
                        THEN q.priority END)
                   THEN 'raised'
               ELSE 'already_queued' END
    FROM (SELECT u.person_id, u.priority, u.nth,
                 max(u.priority) OVER (PARTITION BY u.person_id ORDER BY u.nth
                                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
          FROM unnest(p_person_ids, p_priorities) WITH ORDINALITY AS u (person_id, priority, nth)) AS s
    LEFT JOIN people.master AS p ON p.id = s.person_id
    LEFT JOIN ple.enrichment_queue AS q ON q.person_id = s.person_id
    ORDER BY s.nth
$$;

COMMENT ON FUNCTION ple.f_enqueue_outcomes(uuid[], integer[], uuid[], timestamptz, boolean) IS
    'What enqueueing does to each person, seen before it is done';

GRANT EXECUTE ON FUNCTION ple.f_enqueue TO leadvault_app;
