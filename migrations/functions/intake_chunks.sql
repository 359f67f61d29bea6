-- Chunks of rows, whichever way they come: a lane of a bulk stream, one call, or psql. Locks as intake.sql says.

-- The policy accept_changed within one chunk: each row is measured against the one before it of the same
-- email, as if each came in a chunk of its own. Returns the loads accepted beyond the first of each email,
-- and moves the claims, which the caller holds, to the last of them.
CREATE FUNCTION intake.f_claim_changes(p_load_ids bigint[], p_emails text[], p_rows jsonb[], p_now timestamptz)
RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $$
DECLARE
    v_accepted bigint[];
BEGIN
    WITH hashed AS (
        SELECT load_id, email, jsonb_hash_extended(raw_data, 0) AS content_hash
        FROM unnest(p_load_ids, p_emails, p_rows) AS r (load_id, email, raw_data)
    ), compared AS (
        SELECT load_id, email, content_hash,
               lag(content_hash) OVER (PARTITION BY email ORDER BY load_id) AS hash_before
        FROM hashed
    ), changed AS (
        SELECT load_id, email, content_hash FROM compared WHERE content_hash <> hash_before
    ), moved AS (
        UPDATE intake.email_claims AS held
        SET load_id = latest.load_id, accepted_at = p_now, content_hash = latest.content_hash
        FROM (SELECT DISTINCT ON (email) load_id, email, content_hash
              FROM changed
              ORDER BY email, load_id DESC) AS latest
        WHERE held.email = latest.email
    )
    SELECT array_agg(load_id) INTO STRICT v_accepted FROM changed;
    RETURN coalesce(v_accepted, '{}');
END
$$;

COMMENT ON FUNCTION intake.f_claim_changes(bigint[], text[], jsonb[], timestamptz) IS
    'Accepts the changed rows of one chunk beyond the first of each email';

-- Stores one chunk of a lane: its good rows, its rejected rows, the fate of each, the lane's next offset.
-- The body of bulk ingest, of IngestRows and of f_ingest_json: the rules of duplicates live here.
--
-- Rows come validated, with normalized emails; positions count from 0 within the chunk. A NULL
-- p_first_offset appends. A NULL p_writer is no bulk stream: nobody fences it.
CREATE FUNCTION intake.f_ingest_chunk(
    p_batch_id           text,
    p_lane               integer,
    p_writer             bigint,
    p_first_offset       bigint,
    p_positions          integer[],
    p_rows               jsonb[],
    p_emails             text[],
    p_rejected_positions integer[],
    p_reasons            text[],
    p_pointers           text[],
    p_details            text[],
    p_originals          bytea[],
    p_original_sizes     bigint[],
    p_actor              text,
    OUT outcome      text,
    OUT first_offset bigint,
    OUT next_offset  bigint,
    OUT fates        bytea,
    OUT load_ids     bigint[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- A chunk's rows fit in memory by far, and the planner must not take its unknown number of rows for a few:
-- a nested loop over ten thousand would be a hundred million comparisons.
SET work_mem = '64MB'
SET enable_nestloop = off
-- Compiling a statement takes longer than running it on one chunk.
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_lane      intake.batch_lanes;
    v_batch     intake.batches;
    v_now       timestamptz;
    v_row_count integer  := cardinality(p_positions) + cardinality(p_rejected_positions);
    v_loads     bigint[] := '{}';
    v_accepted  bigint[];
    v_fates     text[]   := '{}';
    v_audit_pending   jsonb := jsonb_build_object('actor', p_actor, 'status', 'pending');
    v_audit_duplicate jsonb := jsonb_build_object('actor', p_actor, 'status', 'duplicate');
BEGIN
    SELECT * INTO v_lane FROM intake.batch_lanes
    WHERE batch_id = p_batch_id AND lane = p_lane
    FOR UPDATE;

    next_offset := v_lane.next_offset;
    first_offset := coalesce(p_first_offset, v_lane.next_offset);
    IF v_lane.batch_id IS NULL THEN
        outcome := 'no_lane';
    ELSIF v_lane.state = 'abandoned' THEN
        outcome := 'abandoned';
    ELSIF v_lane.writer <> p_writer THEN
        outcome := 'fenced';
    ELSIF v_lane.state = 'finished' THEN
        outcome := 'finished';
    ELSIF first_offset <> v_lane.next_offset THEN
        outcome := 'offset_mismatch';
    ELSE
        outcome := 'stored';
    END IF;
    IF outcome <> 'stored' OR v_row_count = 0 THEN
        RETURN;
    END IF;

    SELECT * INTO STRICT v_batch FROM intake.batches WHERE batch_id = p_batch_id;
    -- After the lock: a chunk that waited for another must not look older than it.
    v_now := clock_timestamp();

    -- Ids in the order of the rows.
    v_loads := ARRAY(SELECT nextval('intake.raw_loads_load_id_seq')
                     FROM generate_series(1, cardinality(p_positions)));

    -- Law 4, one winner. Sorted, so that two chunks that share emails queue up instead of deadlocking;
    -- ON CONFLICT waits for a concurrent claim and then sees it. Within the chunk the first row claims.
    WITH claimed AS (
        INSERT INTO intake.email_claims AS held (email, load_id, accepted_at, content_hash)
        SELECT DISTINCT ON (email) email, load_id, v_now, jsonb_hash_extended(raw_data, 0)
        FROM (SELECT unnest(p_emails) AS email, unnest(v_loads) AS load_id, unnest(p_rows) AS raw_data) AS r
        ORDER BY email, load_id
        ON CONFLICT (email) DO UPDATE
        SET load_id = excluded.load_id,
            accepted_at = excluded.accepted_at,
            content_hash = excluded.content_hash
        WHERE held.accepted_at <= v_now - interval '30 days'
           OR (v_batch.on_duplicate = 'accept_changed' AND held.content_hash <> excluded.content_hash)
        RETURNING held.load_id
    )
    SELECT coalesce(array_agg(load_id), '{}') INTO STRICT v_accepted FROM claimed;

    IF v_batch.on_duplicate = 'accept_changed' THEN
        v_accepted := v_accepted || intake.f_claim_changes(v_loads, p_emails, p_rows, v_now);
    END IF;

    IF cardinality(v_accepted) = cardinality(v_loads) THEN
        v_fates := array_fill('a'::text, ARRAY[cardinality(v_loads)]);
    ELSE
        SELECT array_agg(CASE WHEN a.load_id IS NULL THEN 'd' ELSE 'a' END ORDER BY r.load_id) INTO v_fates
        FROM unnest(v_loads) AS r (load_id)
        LEFT JOIN unnest(v_accepted) AS a (load_id) USING (load_id);
    END IF;

    INSERT INTO intake.raw_loads (load_id, batch_id, source, raw_data, status, created_at, metadata)
    SELECT load_id, p_batch_id, v_batch.source, raw_data,
           CASE fate WHEN 'a' THEN 'pending' ELSE 'duplicate' END, v_now,
           CASE WHEN raw_data ->> 'email' = email
                THEN jsonb_build_object('lane', p_lane, 'offset', first_offset + position)
                ELSE jsonb_build_object('lane', p_lane, 'offset', first_offset + position,
                                        'normalized_email', email) END
    FROM (SELECT unnest(v_loads) AS load_id, unnest(v_fates) AS fate, unnest(p_positions) AS position,
                 unnest(p_emails) AS email, unnest(p_rows) AS raw_data) AS r;

    INSERT INTO intake.audit_log (action, load_id, details, "timestamp")
    SELECT 'contact_ingested', load_id, CASE fate WHEN 'a' THEN v_audit_pending ELSE v_audit_duplicate END, v_now
    FROM (SELECT unnest(v_loads) AS load_id, unnest(v_fates) AS fate) AS r;

    INSERT INTO intake.rejected_rows
        (batch_id, lane, row_offset, reason, pointer, detail, original, original_size, created_at)
    SELECT p_batch_id, p_lane, first_offset + position, reason, pointer, detail, original, original_size, v_now
    FROM unnest(p_rejected_positions, p_reasons, p_pointers, p_details, p_originals, p_original_sizes)
        AS r (position, reason, pointer, detail, original, original_size)
    ORDER BY position;

    SELECT convert_to(string_agg(fate, '' ORDER BY position), 'UTF8') INTO STRICT fates
    FROM (SELECT unnest(p_positions) AS position, unnest(v_fates) AS fate
          UNION ALL
          SELECT unnest(p_rejected_positions), 'r') AS r;

    INSERT INTO intake.batch_chunks
        (batch_id, lane, first_offset, row_count, fates, first_load_id, last_load_id, created_at)
    VALUES (p_batch_id, p_lane, first_offset, v_row_count, fates,
            v_loads[1], v_loads[cardinality(v_loads)], v_now);

    UPDATE intake.batch_lanes AS l
    SET next_offset = l.next_offset + v_row_count,
        accepted = l.accepted + cardinality(v_accepted),
        duplicate = l.duplicate + cardinality(p_positions) - cardinality(v_accepted),
        rejected = l.rejected + cardinality(p_rejected_positions)
    WHERE l.batch_id = p_batch_id AND l.lane = p_lane;

    next_offset := first_offset + v_row_count;
    load_ids := CASE WHEN p_lane = -1 THEN coalesce(v_loads, '{}') END;
END
$$;

COMMENT ON FUNCTION intake.f_ingest_chunk(text, integer, bigint, bigint, integer[], jsonb[], text[], integer[],
                                          text[], text[], text[], bytea[], bigint[], text) IS
    'Stores one chunk of a lane: rows, rejected rows, fates and the next offset, all or nothing';

-- One audit row for rows that came in together and are now complete.
CREATE FUNCTION intake.f_audit_batch(
    p_action text, p_batch_id text, p_lane integer, p_accepted bigint, p_duplicate bigint, p_rejected bigint,
    p_actor text)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO intake.audit_log (action, details, "timestamp")
    VALUES (p_action,
            jsonb_strip_nulls(jsonb_build_object(
                'actor', p_actor, 'batch_id', p_batch_id, 'lane', p_lane,
                'received', p_accepted + p_duplicate + p_rejected,
                'accepted', p_accepted, 'duplicate', p_duplicate, 'rejected', p_rejected)),
            clock_timestamp());
$$;

COMMENT ON FUNCTION intake.f_audit_batch(text, text, integer, bigint, bigint, bigint, text) IS
    'Writes the audit row of a batch, or of one call to lane -1';

-- Appends rows to lane -1 of a batch, and makes the batch where there is none. For single calls.
CREATE FUNCTION intake.f_append_rows(
    p_batch_id           text,
    p_source             text,
    p_on_duplicate       text,
    p_positions          integer[],
    p_rows               jsonb[],
    p_emails             text[],
    p_rejected_positions integer[],
    p_reasons            text[],
    p_pointers           text[],
    p_details            text[],
    p_originals          bytea[],
    p_original_sizes     bigint[],
    p_actor              text,
    OUT outcome      text,
    OUT field        text,
    OUT stored       text,
    OUT first_offset bigint,
    OUT fates        bytea,
    OUT load_ids     bigint[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    SELECT o.outcome, o.field, o.stored INTO STRICT outcome, field, stored
    FROM intake.f_open_lane(p_batch_id, p_source, -1, NULL, p_on_duplicate, NULL, p_actor) AS o;
    IF outcome <> 'opened' THEN
        RETURN;
    END IF;

    SELECT c.outcome, c.first_offset, coalesce(c.fates, ''), coalesce(c.load_ids, '{}')
    INTO STRICT outcome, first_offset, fates, load_ids
    FROM intake.f_ingest_chunk(p_batch_id, -1, NULL, NULL, p_positions, p_rows, p_emails,
                               p_rejected_positions, p_reasons, p_pointers, p_details, p_originals,
                               p_original_sizes, p_actor) AS c;
    IF outcome <> 'stored' THEN
        RETURN;
    END IF;

    PERFORM intake.f_audit_batch('batch_processed', p_batch_id, -1,
                                 count(*) FILTER (WHERE fate = 'a'), count(*) FILTER (WHERE fate = 'd'),
                                 count(*) FILTER (WHERE fate = 'r'), p_actor)
    FROM string_to_table(convert_from(fates, 'UTF8'), NULL) AS f (fate);
END
$$;

COMMENT ON FUNCTION intake.f_append_rows(text, text, text, integer[], jsonb[], text[], integer[], text[],
                                         text[], text[], bytea[], bigint[], text) IS
    'Appends validated and rejected rows to lane -1 of a batch';

-- Whether a text can name a batch or a source, by the rule of the service: what it would refuse as a filter
-- must not come in by hand. The classes are written out, since those of a collation differ.
CREATE FUNCTION intake.f_is_name(p_text text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        octet_length(p_text) <= 1000
        AND p_text !~ '[\u0001-\u001f\u007f-\u009f]'
        AND p_text ~ '[^ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]',
        false);
$$;

COMMENT ON FUNCTION intake.f_is_name(text) IS
    'Whether a text can name a batch or a source: not blank, at most 1000 bytes, no control characters';

-- The reference's function, for people at psql: see schema-reference, "intake.f_ingest_json()".
-- A row each, in order, then a summary row whose load_id is NULL.
CREATE FUNCTION intake.f_ingest_json(p_rows jsonb[], p_source text, p_batch_id text)
RETURNS TABLE (load_id bigint, status text, message text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_actor    text := coalesce(nullif(current_setting('leadvault.actor', true), ''), session_user);
    v_good     record;
    v_result   record;
    v_fates    text;
BEGIN
    IF NOT intake.f_is_name(p_source) THEN
        RAISE EXCEPTION 'p_source must be a text of 1 to 1000 bytes without control characters, and not blank'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'name where the rows come from: apollo, apify, manual';
    END IF;
    IF NOT intake.f_is_name(p_batch_id) THEN
        RAISE EXCEPTION 'p_batch_id must be a text of 1 to 1000 bytes without control characters, and not blank'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'any name that tells this batch from others';
    END IF;

    WITH checked AS MATERIALIZED (
        SELECT (r.ordinality - 1)::integer AS position, r.raw_data, c.email, c.reason, c.pointer, c.detail,
               CASE WHEN c.reason IS NOT NULL THEN intake.f_original(r.raw_data) END AS original
        FROM unnest(p_rows) WITH ORDINALITY AS r (raw_data, ordinality)
        CROSS JOIN LATERAL intake.f_check_row(r.raw_data) AS c
    )
    SELECT coalesce(array_agg(position ORDER BY position) FILTER (WHERE reason IS NULL), '{}') AS positions,
           coalesce(array_agg(raw_data ORDER BY position) FILTER (WHERE reason IS NULL), '{}') AS rows,
           coalesce(array_agg(email ORDER BY position) FILTER (WHERE reason IS NULL), '{}') AS emails,
           coalesce(array_agg(position ORDER BY position) FILTER (WHERE reason IS NOT NULL), '{}') AS rejected_positions,
           coalesce(array_agg(reason ORDER BY position) FILTER (WHERE reason IS NOT NULL), '{}') AS reasons,
           coalesce(array_agg(pointer ORDER BY position) FILTER (WHERE reason IS NOT NULL), '{}') AS pointers,
           coalesce(array_agg(detail ORDER BY position) FILTER (WHERE reason IS NOT NULL), '{}') AS details,
           coalesce(array_agg(original ORDER BY position) FILTER (WHERE reason IS NOT NULL), '{}') AS originals,
           coalesce(array_agg(coalesce(nullif(octet_length(original), 0), pg_column_size(raw_data), 0)::bigint
                              ORDER BY position)
                    FILTER (WHERE reason IS NOT NULL), '{}') AS original_sizes
    INTO STRICT v_good
    FROM checked;

    SELECT * INTO STRICT v_result
    FROM intake.f_append_rows(p_batch_id, p_source, NULL, v_good.positions, v_good.rows, v_good.emails,
                              v_good.rejected_positions, v_good.reasons, v_good.pointers, v_good.details,
                              v_good.originals, v_good.original_sizes, v_actor);
    IF v_result.outcome = 'mismatch' THEN
        RAISE EXCEPTION 'batch "%" has the % "%"', p_batch_id, v_result.field, v_result.stored
            USING ERRCODE = 'invalid_parameter_value', HINT = 'one batch has one source: choose another batch id';
    ELSIF v_result.outcome <> 'stored' THEN
        RAISE EXCEPTION 'batch "%" is %: it takes no more rows', p_batch_id, v_result.outcome
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'choose another batch id';
    END IF;
    v_fates := convert_from(v_result.fates, 'UTF8');

    RETURN QUERY
    SELECT r.load_id,
           CASE WHEN r.reason IS NULL THEN 'success' ELSE 'error' END,
           CASE WHEN r.reason IS NOT NULL THEN format('%s: %s', r.reason, r.detail)
                WHEN substr(v_fates, r.position + 1, 1) = 'a' THEN 'ingested'
                ELSE format('duplicate of load %s, accepted in the last 30 days', held.load_id) END
    FROM (
        SELECT position, load_id, email, NULL AS reason, NULL AS detail
        FROM unnest(v_good.positions, v_result.load_ids, v_good.emails) AS g (position, load_id, email)
        UNION ALL
        SELECT position, NULL, NULL, reason, detail
        FROM unnest(v_good.rejected_positions, v_good.reasons, v_good.details) AS g (position, reason, detail)
    ) AS r
    LEFT JOIN intake.email_claims AS held ON held.email = r.email
    ORDER BY r.position;

    RETURN QUERY
    SELECT NULL::bigint, 'success',
           format('inserted %s, skipped %s (%s duplicate, %s rejected)',
                  count(*) FILTER (WHERE fate = 'a'), count(*) FILTER (WHERE fate <> 'a'),
                  count(*) FILTER (WHERE fate = 'd'), count(*) FILTER (WHERE fate = 'r'))
    FROM string_to_table(v_fates, NULL) AS f (fate);
END
$$;

COMMENT ON FUNCTION intake.f_ingest_json(jsonb[], text, text) IS
    'Ingest JSON data with duplicate detection';
