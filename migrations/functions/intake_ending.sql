-- How lanes and batches end, how failed loads begin again, how calls are answered once, and how claims follow
-- their loads. Locks as intake.sql says.

-- Ends a lane, and completes the batch with its last one.
CREATE FUNCTION intake.f_finish_lane(
    p_batch_id text, p_lane integer, p_writer bigint, p_row_count bigint, p_actor text,
    OUT outcome     text,
    OUT next_offset bigint,
    OUT accepted    bigint,
    OUT duplicate   bigint,
    OUT rejected    bigint,
    OUT finished_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_lane_count integer;
    v_lane       intake.batch_lanes;
    v_completed  record;
BEGIN
    -- The batch first: of two lanes that finish at once, the later one must see the other finished.
    SELECT lane_count INTO v_lane_count FROM intake.batches WHERE batch_id = p_batch_id FOR NO KEY UPDATE;
    SELECT * INTO v_lane FROM intake.batch_lanes
    WHERE batch_id = p_batch_id AND lane = p_lane
    FOR UPDATE;

    IF v_lane.batch_id IS NULL THEN
        outcome := 'no_lane';
    ELSIF v_lane.state = 'abandoned' THEN
        outcome := 'abandoned';
    ELSIF v_lane.writer <> p_writer THEN
        outcome := 'fenced';
    ELSIF v_lane.next_offset <> p_row_count THEN
        outcome := 'row_count_mismatch';
    ELSE
        outcome := 'finished';
    END IF;
    next_offset := v_lane.next_offset;
    accepted := v_lane.accepted;
    duplicate := v_lane.duplicate;
    rejected := v_lane.rejected;
    finished_at := v_lane.finished_at;
    IF outcome <> 'finished' OR v_lane.state = 'finished' THEN
        RETURN;
    END IF;

    UPDATE intake.batch_lanes AS l
    SET state = 'finished', finished_at = clock_timestamp()
    WHERE l.batch_id = p_batch_id AND l.lane = p_lane
    RETURNING l.finished_at INTO STRICT finished_at;

    SELECT count(*) FILTER (WHERE l.state = 'finished') AS lanes,
           sum(l.accepted)::bigint AS accepted, sum(l.duplicate)::bigint AS duplicate,
           sum(l.rejected)::bigint AS rejected
    INTO STRICT v_completed
    FROM intake.batch_lanes AS l
    WHERE l.batch_id = p_batch_id AND l.lane >= 0;
    IF v_completed.lanes = v_lane_count THEN
        PERFORM intake.f_audit_batch('batch_processed', p_batch_id, NULL, v_completed.accepted,
                                     v_completed.duplicate, v_completed.rejected, p_actor);
    END IF;
END
$$;

COMMENT ON FUNCTION intake.f_finish_lane(text, integer, bigint, bigint, text) IS
    'Ends a lane, and completes the batch with its last one; repeating it changes nothing';

-- Ends a batch that will never complete.
CREATE FUNCTION intake.f_abandon_batch(p_batch_id text, p_reason text, p_actor text, OUT outcome text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_batch    intake.batches;
    v_finished bigint;
BEGIN
    SELECT * INTO v_batch FROM intake.batches WHERE batch_id = p_batch_id FOR UPDATE;
    IF v_batch.batch_id IS NULL THEN
        outcome := 'not_found';
        RETURN;
    END IF;
    IF v_batch.abandoned_at IS NOT NULL THEN
        outcome := 'abandoned';
        RETURN;
    END IF;
    SELECT count(*) INTO STRICT v_finished FROM intake.batch_lanes
    WHERE batch_id = p_batch_id AND lane >= 0 AND state = 'finished';
    IF v_finished = v_batch.lane_count THEN
        outcome := 'complete';
        RETURN;
    END IF;

    outcome := 'abandoned';
    UPDATE intake.batches SET abandoned_at = clock_timestamp() WHERE batch_id = p_batch_id;
    -- Waits for chunks that are being written; they stay.
    UPDATE intake.batch_lanes SET state = 'abandoned' WHERE batch_id = p_batch_id AND state = 'open';
    INSERT INTO intake.audit_log (action, details, "timestamp")
    VALUES ('batch_abandoned',
            jsonb_build_object('actor', p_actor, 'batch_id', p_batch_id, 'reason', p_reason),
            clock_timestamp());
END
$$;

COMMENT ON FUNCTION intake.f_abandon_batch(text, text, text) IS
    'Ends a batch that will never complete: it takes no more rows, and what is in stays';

-- Sets failed loads back to pending, where they win the claim on their email again. A load that an
-- administrator wrote may have no email that could be claimed: it is set back without.
CREATE FUNCTION intake.f_retry_failed_loads(p_load_ids bigint[], p_actor text)
RETURNS TABLE (load_id bigint, outcome text, claim_load_id bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As marketing.f_record_outreach: a plan that was made while there was little would read all there is for each call.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_now     timestamptz;
    v_failed  bigint[];
    v_retried bigint[];
BEGIN
    SELECT coalesce(array_agg(f.load_id), '{}') INTO STRICT v_failed
    FROM (
        SELECT l.load_id FROM intake.raw_loads AS l
        -- An expression, so that it is not looked for among all that failed.
        WHERE l.load_id = ANY (p_load_ids) AND l.status || '' = 'failed'
        ORDER BY l.load_id
        FOR UPDATE
    ) AS f;
    v_now := clock_timestamp();

    WITH first_of_email AS (
        SELECT DISTINCT ON (e.email) e.email, l.load_id, jsonb_hash_extended(l.raw_data, 0) AS content_hash
        FROM intake.raw_loads AS l
        CROSS JOIN LATERAL coalesce(l.metadata ->> 'normalized_email', l.raw_data ->> 'email') AS e (email)
        WHERE l.load_id = ANY (v_failed) AND octet_length(e.email) <= 254
        ORDER BY e.email, l.load_id
    ), claimed AS (
        INSERT INTO intake.email_claims AS held (email, load_id, accepted_at, content_hash)
        SELECT email, load_id, v_now, content_hash FROM first_of_email ORDER BY email
        ON CONFLICT (email) DO UPDATE
        SET load_id = excluded.load_id,
            accepted_at = excluded.accepted_at,
            content_hash = excluded.content_hash
        WHERE held.accepted_at <= v_now - interval '30 days' OR held.load_id = excluded.load_id
        RETURNING held.load_id
    )
    SELECT coalesce(array_agg(r.load_id), '{}') INTO STRICT v_retried
    FROM (
        SELECT c.load_id FROM claimed AS c
        UNION ALL
        SELECT l.load_id FROM intake.raw_loads AS l
        WHERE l.load_id = ANY (v_failed)
          AND octet_length(coalesce(l.metadata ->> 'normalized_email', l.raw_data ->> 'email')) <= 254 IS NOT TRUE
    ) AS r;

    WITH retried AS (
        UPDATE intake.raw_loads AS l
        SET status = 'pending', promoted_at = NULL, metadata = l.metadata - 'failure'
        FROM intake.raw_loads AS before
        WHERE l.load_id = ANY (v_retried) AND before.load_id = l.load_id
        RETURNING l.load_id, before.metadata -> 'failure' AS failure
    )
    INSERT INTO intake.audit_log (action, load_id, details, "timestamp")
    SELECT 'load_retried', r.load_id,
           jsonb_strip_nulls(jsonb_build_object(
               'actor', p_actor, 'from', 'failed', 'to', 'pending', 'failure', r.failure)),
           v_now
    FROM retried AS r
    ORDER BY r.load_id;

    RETURN QUERY
    SELECT asked.load_id,
           CASE WHEN asked.load_id = ANY (v_retried) THEN 'retried'
                WHEN asked.load_id = ANY (v_failed) THEN 'claimed'
                WHEN l.load_id IS NULL THEN 'not_found'
                ELSE 'not_failed' END,
           CASE WHEN asked.load_id = ANY (v_failed) AND asked.load_id <> ALL (v_retried)
                THEN held.load_id END
    FROM unnest(p_load_ids) WITH ORDINALITY AS asked (load_id, nth)
    LEFT JOIN intake.raw_loads AS l ON l.load_id = asked.load_id
    LEFT JOIN intake.email_claims AS held
        ON held.email = coalesce(l.metadata ->> 'normalized_email', l.raw_data ->> 'email')
    ORDER BY asked.nth;
    -- One that is not failed may have been set back before.
    PERFORM intake.f_commit_as_write();
END
$$;

COMMENT ON FUNCTION intake.f_retry_failed_loads(bigint[], text) IS
    'Sets failed loads back to pending where they win the claim on their email again';

-- Begins a request that carries a request_id, or finds the answer that it was given before. A concurrent
-- repetition waits here until the first call's transaction ends.
CREATE FUNCTION intake.f_begin_request(
    p_actor text, p_method text, p_request_id uuid, p_fingerprint bytea,
    OUT outcome text, OUT answer bytea)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_kept intake.request_answers;
BEGIN
    -- A few at a time, in passing, and never in anyone's way.
    DELETE FROM intake.request_answers AS a
    WHERE a.ctid = ANY (ARRAY(
        SELECT old.ctid FROM intake.request_answers AS old
        WHERE old.created_at <= clock_timestamp() - interval '24 hours'
        ORDER BY old.created_at
        LIMIT 100
        FOR UPDATE SKIP LOCKED));

    INSERT INTO intake.request_answers AS kept (actor, method, request_id, fingerprint)
    VALUES (p_actor, p_method, p_request_id, p_fingerprint)
    ON CONFLICT (actor, method, request_id) DO UPDATE
    SET fingerprint = excluded.fingerprint, answer = NULL, created_at = excluded.created_at
    WHERE kept.created_at <= clock_timestamp() - interval '24 hours';
    -- One that is kept is locked, and the commit waits as that of the first call did.
    IF FOUND THEN
        outcome := 'new';
        RETURN;
    END IF;

    SELECT * INTO STRICT v_kept FROM intake.request_answers
    WHERE actor = p_actor AND method = p_method AND request_id = p_request_id;
    IF v_kept.fingerprint = p_fingerprint THEN
        outcome := 'answered';
        answer := v_kept.answer;
    ELSE
        outcome := 'reused';
    END IF;
END
$$;

COMMENT ON FUNCTION intake.f_begin_request(text, text, uuid, bytea) IS
    'Begins a request that carries a request_id, or finds its first answer';

-- Keeps the answer to a request begun in this transaction.
CREATE FUNCTION intake.f_answer_request(p_actor text, p_method text, p_request_id uuid, p_answer bytea)
RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE intake.request_answers
    SET answer = p_answer
    WHERE actor = p_actor AND method = p_method AND request_id = p_request_id AND answer IS NULL;
$$;

COMMENT ON FUNCTION intake.f_answer_request(text, text, uuid, bytea) IS
    'Keeps the answer to a request begun in this transaction';

-- Makes a transaction commit as one that wrote, where it wrote nothing: it waits for the disk, and for a synchronous
-- standby. Whoever answers that something was done before needs it. What it found may be on its way to the standby
-- still: a commit that was cut while it waited, by a deadline or by the end of the primary, is seen by all others.
-- Whoever holds a row by a lock has written that, and needs nothing.
CREATE FUNCTION intake.f_commit_as_write()
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_current_xact_id_if_assigned() IS NULL THEN
        PERFORM pg_logical_emit_message(true, 'leadvault', ''::text);
    END IF;
END
$$;

COMMENT ON FUNCTION intake.f_commit_as_write() IS
    'Makes a transaction that wrote nothing wait for the disk and for a synchronous standby, as one that wrote';

-- An administrator who deletes a load, or corrects when it came, moves its claim with it: the duplicate
-- window must not hang on a load that is not there.
CREATE FUNCTION intake.f_follow_load()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM intake.email_claims
        WHERE email = coalesce(OLD.metadata ->> 'normalized_email', OLD.raw_data ->> 'email')
          AND load_id = OLD.load_id;
    ELSE
        UPDATE intake.email_claims
        SET accepted_at = NEW.created_at
        WHERE email = coalesce(NEW.metadata ->> 'normalized_email', NEW.raw_data ->> 'email')
          AND load_id = NEW.load_id;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION intake.f_follow_load() IS 'Moves or deletes the claim of a load with it';

CREATE TRIGGER raw_loads_delete_claim
    AFTER DELETE ON intake.raw_loads
    FOR EACH ROW EXECUTE FUNCTION intake.f_follow_load();

CREATE TRIGGER raw_loads_move_claim
    AFTER UPDATE OF created_at ON intake.raw_loads
    FOR EACH ROW WHEN (OLD.created_at IS DISTINCT FROM NEW.created_at)
    EXECUTE FUNCTION intake.f_follow_load();

GRANT EXECUTE ON FUNCTION
    intake.f_open_lane, intake.f_ingest_chunk, intake.f_append_rows, intake.f_ingest_json,
    intake.f_finish_lane, intake.f_abandon_batch, intake.f_retry_failed_loads, intake.f_begin_request,
    intake.f_answer_request, intake.f_commit_as_write, intake.f_normalize_email
    TO leadvault_app;
