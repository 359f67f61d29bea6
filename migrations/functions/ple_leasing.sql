-- Leases: who goes next, and how the queue stands.
--
-- An entry that waits stands in the line, or beside it: in_line says where it is looked for, state and
-- available_at alone say who may have it. Who is with a worker or failed is put beside the line, by the time
-- when that ends; a lease looks at the head of the line and at who is due beside it. The latter must be few, since
-- they stand in the order of time: where they are many, f_line_up puts them into the line first, in a transaction
-- of its own. It holds the advisory lock of the line exclusive and a lease holds it shared, so that no lease passes
-- over those who are moved at that moment.

-- The number says nothing, it only has to be the same everywhere.
CREATE FUNCTION ple.f_line_lock()
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 7305001004 $$;

COMMENT ON FUNCTION ple.f_line_lock() IS
    'The key of the advisory lock that orders leases against the lining up of the enrichment queue';

-- Whether more are due beside the line than a lease should read. A few are left there, since most of them are
-- leased before it matters.
CREATE FUNCTION ple.f_is_crowded(p_now timestamptz)
RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
BEGIN
    PERFORM 1
    FROM ple.enrichment_queue AS q
    WHERE q.state IN ('queued', 'leased') AND NOT q.in_line AND q.available_at <= p_now
    ORDER BY q.available_at
    OFFSET 200
    LIMIT 1;
    RETURN FOUND;
END
$$;

COMMENT ON FUNCTION ple.f_is_crowded(timestamptz) IS
    'Whether more are due beside the line of the enrichment queue than a lease should read';

-- Puts those who are due beside the line into it, where they are many; one chunk of them. Stuck: they are many, but
-- somebody holds each of them, so that nobody else could have them anyway.
CREATE FUNCTION ple.f_line_up(OUT lined bigint, OUT stuck boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
BEGIN
    lined := 0;
    stuck := false;
    IF NOT ple.f_is_crowded(v_now) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(ple.f_line_lock());
    -- Whoever had the lock before may have done it.
    IF NOT ple.f_is_crowded(v_now) THEN
        RETURN;
    END IF;

    WITH due AS MATERIALIZED (
        SELECT q.person_id
        FROM ple.enrichment_queue AS q
        WHERE q.state IN ('queued', 'leased') AND NOT q.in_line AND q.available_at <= v_now
        ORDER BY q.available_at
        LIMIT 2000
        FOR UPDATE SKIP LOCKED
    )
    UPDATE ple.enrichment_queue AS q
    SET in_line = true
    FROM due AS d
    WHERE q.person_id = d.person_id;
    GET DIAGNOSTICS lined = ROW_COUNT;
    stuck := lined = 0;
END
$$;

COMMENT ON FUNCTION ple.f_line_up() IS
    'Puts those who are due beside the line of the enrichment queue into it, where they are many';

-- Who goes next, best first: the highest priority, of equals who waited longest. As the calling statement sees
-- them; nobody is locked. The fate is what a lease makes of each: leased; suppressed; or dead, whose leases were
-- overrun so often that its workers must die of it. The bytes are what it takes in an answer.
--
-- Those who are due beside the line stand in the order of time, so that all of them are read, and sorted; the
-- caller sees to it that they are few. Where it cannot, those who are due since longest are looked at.
CREATE FUNCTION ple.f_next(p_now timestamptz, p_most bigint, p_max_overruns integer)
RETURNS TABLE (person_id uuid, priority integer, enqueued_at timestamptz, lease_token bigint, fate text,
               bytes bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
-- The line has its order from its index; statistics of an empty queue must not talk the planner into sorting all.
-- What it thinks of the few rows that are sorted after all would call for compiling them.
SET jit = off
SET enable_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH line AS MATERIALIZED (
        SELECT q.priority, q.enqueued_at, q.person_id
        FROM ple.enrichment_queue AS q
        WHERE q.state IN ('queued', 'leased') AND q.in_line AND q.available_at <= p_now
        ORDER BY q.priority DESC, q.enqueued_at, q.person_id
        LIMIT p_most
    ), beside AS MATERIALIZED (
        SELECT q.priority, q.enqueued_at, q.person_id
        FROM ple.enrichment_queue AS q
        WHERE q.state IN ('queued', 'leased') AND NOT q.in_line AND q.available_at <= p_now
        ORDER BY q.available_at
        LIMIT 500
    ), next AS MATERIALIZED (
        SELECT n.*
        FROM (TABLE line UNION ALL TABLE beside) AS n
        ORDER BY n.priority DESC, n.enqueued_at, n.person_id
        LIMIT p_most
    )
    SELECT q.person_id, q.priority, q.enqueued_at, q.lease_token,
           CASE WHEN ple.f_is_suppressed(p.email) THEN 'suppressed'
                -- A lease that neither failed nor completed its entry was overrun.
                WHEN q.attempts - q.failures >= p_max_overruns THEN 'dead'
                ELSE 'leased' END,
           400 + octet_length(concat(p.email, p.name, p.first_name, p.last_name, p.title, p.linkedin_url, p.phone,
                                     p.location, p.seniority, p.department))::bigint
    FROM next AS n
    JOIN ple.enrichment_queue AS q ON q.person_id = n.person_id
    JOIN people.master AS p ON p.id = n.person_id
    ORDER BY n.priority DESC, n.enqueued_at, n.person_id;
END
$$;

COMMENT ON FUNCTION ple.f_next(timestamptz, bigint, integer) IS
    'Who goes next in the enrichment queue, best first, and what a lease makes of each';

-- Leases people to a worker, in the order of f_next, as long as there is room for them in an answer; the others
-- stay free. Who is not to be leased any more is set aside or ended in the same statement, and the next one takes
-- the place. Without p_max_overruns none ends, without p_max_bytes there is always room.
--
-- One statement looks, locks and takes: an entry that was free in its snapshot is only passed over where
-- somebody else holds it at that moment, or changed it since. Only what is taken is locked: whoever else leases
-- passes over a locked entry, and would pass over one that nobody has.
--
-- No rows: nobody waits. One row without a person asks to be called again, in a transaction of its own, so that
-- none of them is long: `crowded` after f_line_up, and nothing was done; `set_aside` at once, since so many had
-- to be set aside that nobody was leased yet. Where f_line_up is stuck, p_strict is false.
CREATE FUNCTION ple.f_lease(
    p_worker text, p_most integer, p_ttl interval, p_max_overruns integer DEFAULT NULL,
    p_max_bytes bigint DEFAULT NULL, p_strict boolean DEFAULT true)
RETURNS TABLE (outcome text, person people.master, lease_token bigint, lease_expires_at timestamptz,
               priority integer, attempt integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- All is probed by key, and none of it is compared with each of those who were seen.
SET enable_material = off
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    c_most_ended CONSTANT bigint := 5000;
    v_now    timestamptz;
    v_until  timestamptz;
    v_leased uuid[] := '{}';
    v_bytes  bigint := 0;
    v_ended  bigint := 0;
    v_look   bigint := p_most + 10;
    -- Others hold all those who would fit together: the next one, whoever it is.
    v_single boolean := false;
    v_round  record;
BEGIN
    PERFORM ple.f_share_ledger();
    PERFORM pg_advisory_xact_lock_shared(ple.f_line_lock());
    v_now := clock_timestamp();
    v_until := v_now + p_ttl;
    IF p_strict AND ple.f_is_crowded(v_now) THEN
        outcome := 'crowded';
        RETURN NEXT;
        RETURN;
    END IF;
    LOOP
        WITH ranked AS (
            SELECT s.*,
                   sum(CASE WHEN s.fate = 'leased' THEN s.bytes ELSE 0 END) OVER (
                       ORDER BY s.priority DESC, s.enqueued_at, s.person_id) AS total
            FROM ple.f_next(v_now, v_look, p_max_overruns) AS s
        ), seen AS MATERIALIZED (
            SELECT r.*,
                   p_max_bytes IS NULL OR v_single OR v_bytes + r.total <= p_max_bytes
                   -- One at least, or nobody could ever have it.
                   OR v_bytes + r.total = r.bytes AS fits
            FROM ranked AS r
            ORDER BY r.priority DESC, r.enqueued_at, r.person_id
        ), held AS MATERIALIZED (
            SELECT s.person_id, s.fate, s.bytes
            FROM seen AS s
            -- Each is probed on its own, and no more of them than are taken. PostgreSQL also locks an entry that
            -- changed since it was seen, and keeps the lock if it is not wanted any more: whoever may be had now
            -- is taken, or the others would pass over somebody whom nobody has.
            CROSS JOIN LATERAL (
                SELECT FROM ple.enrichment_queue AS q
                WHERE q.person_id = s.person_id
                  AND q.state IN ('queued', 'leased') AND q.available_at <= clock_timestamp()
                FOR UPDATE SKIP LOCKED
            ) AS free
            WHERE s.fate = 'leased' AND s.fits
            LIMIT CASE WHEN v_single THEN 1 ELSE p_most - cardinality(v_leased) END
        ), ended AS MATERIALIZED (
            SELECT s.person_id, s.fate, 0 AS bytes
            FROM seen AS s
            CROSS JOIN LATERAL (
                SELECT FROM ple.enrichment_queue AS q
                WHERE q.person_id = s.person_id
                  -- Overruns are those of the lease that was seen.
                  AND (s.fate = 'suppressed' OR q.lease_token = s.lease_token)
                  AND q.state IN ('queued', 'leased') AND q.available_at <= clock_timestamp()
                FOR UPDATE SKIP LOCKED
            ) AS free
            WHERE s.fate <> 'leased'
            LIMIT c_most_ended - v_ended
        ), taken AS (
            UPDATE ple.enrichment_queue AS q
            SET state = t.fate,
                in_line = q.in_line AND t.fate <> 'leased',
                available_at = CASE WHEN t.fate = 'leased' THEN v_until ELSE q.available_at END,
                lease_expires_at = CASE WHEN t.fate = 'leased' THEN v_until END,
                leased_at = CASE WHEN t.fate = 'leased' THEN v_now ELSE q.leased_at END,
                leased_by = CASE WHEN t.fate = 'leased' THEN p_worker ELSE q.leased_by END,
                -- Of one that ends while leased, too: a worker who comes back after all has lost its lease.
                lease_token = q.lease_token + (t.fate <> 'suppressed' OR q.state = 'leased')::integer,
                attempts = q.attempts + (t.fate = 'leased')::integer,
                last_error = CASE WHEN t.fate = 'dead'
                                  THEN format('lease overrun %s times', q.attempts - q.failures)
                                  ELSE q.last_error END,
                ended_at = CASE WHEN t.fate = 'dead' THEN v_now END
            FROM (TABLE held UNION ALL TABLE ended) AS t
            WHERE q.person_id = t.person_id
            RETURNING q.person_id, q.state, t.bytes
        )
        SELECT (SELECT count(*) FROM seen) AS seen,
               EXISTS (SELECT FROM seen AS s WHERE s.fate = 'leased' AND NOT s.fits) AS cut,
               coalesce(array_agg(t.person_id) FILTER (WHERE t.state = 'leased'), '{}') AS leased,
               count(*) FILTER (WHERE t.state <> 'leased') AS ended,
               coalesce(sum(t.bytes), 0) AS bytes
        INTO STRICT v_round
        FROM taken AS t;
        v_leased := v_leased || v_round.leased;
        v_bytes := v_bytes + v_round.bytes;
        v_ended := v_ended + v_round.ended;
        EXIT WHEN cardinality(v_leased) >= p_most OR v_ended >= c_most_ended
                  OR v_leased <> '{}' AND (v_round.cut OR v_single);
        IF v_round.cut THEN
            v_single := true;
        ELSE
            EXIT WHEN v_round.seen < v_look;
            -- Who was set aside made room, also for those who are to be set aside. Where nobody was, others hold
            -- those who were seen: further down.
            v_look := CASE WHEN v_round.ended = 0 THEN v_look * 4
                           ELSE greatest(v_look, least(v_look * 4, c_most_ended)) END;
        END IF;
    END LOOP;
    IF v_leased = '{}' AND v_ended >= c_most_ended THEN
        outcome := 'set_aside';
        RETURN NEXT;
        RETURN;
    END IF;

    RETURN QUERY
    SELECT 'leased', p, q.lease_token, q.lease_expires_at, q.priority, q.attempts
    FROM ple.enrichment_queue AS q
    JOIN people.master AS p ON p.id = q.person_id
    WHERE q.person_id = ANY (v_leased)
    ORDER BY q.priority DESC, q.enqueued_at, q.person_id;
END
$$;

COMMENT ON FUNCTION ple.f_lease(text, integer, interval, integer, bigint, boolean) IS
    'Leases people to a worker until a deadline, with a fencing token each';

-- How many entries are in which state, in one snapshot. Each is counted in an index, and no entry is read: what
-- has ended is nearly all of a queue that has run for long.
CREATE FUNCTION ple.f_stats()
RETURNS TABLE (ready bigint, delayed bigint, leased bigint, completed bigint, dead bigint, suppressed bigint,
               oldest_ready_at timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
    WITH waiting AS (
        SELECT q.state, q.available_at <= now() AS due, count(*) AS entries, min(q.enqueued_at) AS oldest_at
        FROM ple.enrichment_queue AS q
        WHERE q.state IN ('queued', 'leased') AND q.in_line
        GROUP BY 1, 2
        UNION ALL
        SELECT q.state, q.available_at <= now() AS due, count(*), min(q.enqueued_at)
        FROM ple.enrichment_queue AS q
        WHERE q.state IN ('queued', 'leased') AND NOT q.in_line
        GROUP BY 1, 2
    )
    SELECT coalesce(sum(w.entries) FILTER (WHERE w.due), 0)::bigint,
           coalesce(sum(w.entries) FILTER (WHERE w.state = 'queued' AND NOT w.due), 0)::bigint,
           coalesce(sum(w.entries) FILTER (WHERE w.state = 'leased' AND NOT w.due), 0)::bigint,
           (SELECT count(*) FROM ple.enrichment_queue AS q WHERE q.state = 'completed'),
           (SELECT count(*) FROM ple.enrichment_queue AS q WHERE q.state = 'dead'),
           (SELECT count(*) FROM ple.enrichment_queue AS q WHERE q.state = 'suppressed'),
           min(w.oldest_at) FILTER (WHERE w.due)
    FROM waiting AS w
$$;

COMMENT ON FUNCTION ple.f_stats() IS 'How many entries of the enrichment queue are in which state';

GRANT EXECUTE ON FUNCTION ple.f_lease, ple.f_line_up, ple.f_stats TO leadvault_app;
