-- The write path of intake. Every write to intake.raw_loads, intake.audit_log and the ledgers of intake
-- happens in one of these functions; they run as their owner, who alone passes row level security.
--
-- Locks are taken in one order: batch, lane, claims by email. Each function that decides something takes
-- its lock first and reads in a later statement.

-- The address as every comparison uses it, or why it is none.
--
-- Agrees with the service (crate email_address, UTS 46) on every ASCII address. What SQL cannot decide is
-- refused, and `detail` says so: characters beyond ASCII, and domains in Punycode.
CREATE FUNCTION intake.f_normalize_email(p_email text, OUT email text, OUT detail text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_trimmed text := btrim(p_email, E' \t\n\x0b\x0c\r');
    v_local   text;
    v_domain  text;
BEGIN
    IF octet_length(p_email) > 320 THEN
        detail := format('the address has %s bytes, at most 320 are taken', octet_length(p_email));
        RETURN;
    END IF;
    IF octet_length(v_trimmed) <> char_length(v_trimmed) THEN
        detail := 'an address beyond ASCII cannot be checked in SQL; send it through the IntakeService';
        RETURN;
    END IF;
    -- The collation is named because lower() follows it: a Turkish one has another small i.
    v_local  := lower(substring(v_trimmed FROM '^(.*)@[^@]*$') COLLATE "C");
    v_domain := lower(substring(v_trimmed FROM '@([^@]*)$') COLLATE "C");
    IF v_local IS NULL OR v_domain IS NULL THEN
        detail := 'an address is local-part@domain';
    ELSIF v_domain ~ '(^|\.)xn--' THEN
        detail := 'a Punycode domain cannot be checked in SQL; send it through the IntakeService';
    ELSIF octet_length(v_local) NOT BETWEEN 1 AND 64
        OR (v_local !~ '^[a-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&''*+/=?^_`{|}~-]+)*$'
            AND v_local !~ '^"([\x20\x09\x21\x23-\x5b\x5d-\x7e]|\\[\x21-\x7e])+"$') THEN
        detail := 'the local part is not one of RFC 5321';
    ELSIF octet_length(v_domain) > 253
        OR v_domain !~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
        detail := 'the domain is not a host name with a dot';
    ELSIF octet_length(v_local) + 1 + octet_length(v_domain) > 254 THEN
        detail := 'the address has more than 254 bytes';
    ELSE
        email := v_local || '@' || v_domain;
    END IF;
END
$$;

COMMENT ON FUNCTION intake.f_normalize_email(text) IS
    'The normalized email, or in detail why the text is none or cannot be decided in SQL';

-- Why a row sent by hand cannot be stored, as far as SQL can tell; NULLs when it can.
CREATE FUNCTION intake.f_check_row(p_row jsonb, OUT email text, OUT reason text, OUT pointer text, OUT detail text)
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text;
BEGIN
    pointer := '';
    IF p_row IS NULL THEN
        reason := 'EMPTY_ROW';
        detail := 'the row is NULL, a row is a JSON object';
    ELSIF jsonb_typeof(p_row) <> 'object' THEN
        reason := 'NOT_AN_OBJECT';
        detail := format('the row is of type %s, a row is a JSON object', jsonb_typeof(p_row));
    ELSIF jsonb_path_exists(p_row, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")') THEN
        reason := 'NESTED_TOO_DEEPLY';
        detail := 'arrays and objects are nested more than 64 deep';
    ELSIF jsonb_path_exists(p_row, 'strict $.** ? (@.type() == "number"
            && (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308))')
        OR EXISTS (
            SELECT FROM jsonb_path_query(p_row, 'strict $.** ? (@.type() == "number")') AS n (value)
            -- Not its length as text: a number of ten bytes may print as a hundred thousand.
            WHERE scale(n.value::numeric) > 400) THEN
        reason := 'NUMBER_OUT_OF_RANGE';
        detail := 'a number is not finite as a double, or has too many digits';
    ELSIF octet_length(p_row::text) > 262144 THEN
        reason := 'ROW_TOO_LARGE';
        detail := format('the row has %s bytes, at most 262144 are taken', octet_length(p_row::text));
    ELSE
        SELECT k INTO v_key
        FROM unnest(ARRAY['company', 'name', 'industry', 'domain', 'website', 'linkedin_url',
                          'company_linkedin_url']) AS k
        WHERE jsonb_typeof(p_row -> k) = 'string' AND octet_length(p_row ->> k) > 1000
        LIMIT 1;
        IF v_key IS NOT NULL THEN
            reason := 'TEXT_TOO_LONG';
            pointer := '/' || v_key;
            detail := format('the text has %s bytes, at most 1000 are taken', octet_length(p_row ->> v_key));
        END IF;
    END IF;
    IF reason IS NOT NULL THEN
        RETURN;
    END IF;

    IF coalesce(jsonb_typeof(p_row -> 'email'), 'null') = 'null'
        OR (jsonb_typeof(p_row -> 'email') = 'string'
            AND btrim(p_row ->> 'email', E' \t\n\x0b\x0c\r') = ''
            AND octet_length(p_row ->> 'email') <= 320) THEN
        reason := 'MISSING_EMAIL';
        pointer := '/email';
        detail := 'the row has no email';
    ELSIF jsonb_typeof(p_row -> 'email') <> 'string' THEN
        reason := 'INVALID_EMAIL';
        pointer := '/email';
        detail := format('the email is of type %s, an email is a JSON string', jsonb_typeof(p_row -> 'email'));
    ELSE
        SELECT n.email, n.detail INTO email, detail FROM intake.f_normalize_email(p_row ->> 'email') AS n;
        IF email IS NULL THEN
            reason := 'INVALID_EMAIL';
            pointer := '/email';
        END IF;
    END IF;
END
$$;

COMMENT ON FUNCTION intake.f_check_row(jsonb) IS
    'Why a row sent by hand cannot be stored; its normalized email when it can';

-- A rejected row as it is kept: its text, up to the frame limit of 8 MiB. A row whose numbers would explode
-- when printed (1e131071 takes ten bytes and prints as 131,072) is kept as nothing: its caller has it.
CREATE FUNCTION intake.f_original(p_row jsonb)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_row IS NULL OR (
        SELECT sum(scale(n.value::numeric) + CASE WHEN abs(n.value::numeric) > 1e308 THEN 131072 ELSE 0 END)
        FROM jsonb_path_query(p_row, 'strict $.** ? (@.type() == "number")') AS n (value)) > 8388608 THEN
        RETURN '';
    END IF;
    RETURN substring(convert_to(p_row::text, 'UTF8') FOR 8388608);
END
$$;

COMMENT ON FUNCTION intake.f_original(jsonb) IS 'A rejected row as it is kept: its text, up to 8 MiB';

-- Opens a lane for a new writer, and the batch with its first lane.
--
-- What the first open said holds for the batch: a later one that differs is answered `mismatch`, with the
-- field and the stored value; arguments left NULL agree with anything. Lane -1 has no writer of its own:
-- any number of callers append to it.
CREATE FUNCTION intake.f_open_lane(
    p_batch_id     text,
    p_source       text,
    p_lane         integer,
    p_lane_count   integer,
    p_on_duplicate text,
    p_metadata     jsonb,
    p_actor        text,
    OUT outcome     text,
    OUT field       text,
    OUT stored      text,
    OUT writer      bigint,
    OUT next_offset bigint,
    OUT finished    boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_batch intake.batches;
BEGIN
    -- A refused open settles nothing, so that the corrected one is the first: a lane that the batch would not
    -- have makes no batch.
    INSERT INTO intake.batches (batch_id, source, on_duplicate, lane_count, metadata, created_by)
    SELECT p_batch_id, p_source, coalesce(p_on_duplicate, 'mark'),
           CASE WHEN p_lane >= 0 THEN coalesce(p_lane_count, 1) END, coalesce(p_metadata, '{}'), p_actor
    WHERE p_lane < coalesce(p_lane_count, 1)
    ON CONFLICT (batch_id) DO NOTHING;

    -- Single calls may have begun the batch: its first bulk open settles the lanes and the notes.
    IF p_lane >= 0 THEN
        UPDATE intake.batches AS b
        SET lane_count = coalesce(p_lane_count, 1), metadata = coalesce(p_metadata, '{}')
        WHERE b.batch_id = p_batch_id AND b.lane_count IS NULL AND b.abandoned_at IS NULL
          AND b.source = p_source AND b.on_duplicate = coalesce(p_on_duplicate, b.on_duplicate)
          AND p_lane < coalesce(p_lane_count, 1);
    END IF;

    -- Shared, so that lanes open side by side, yet not while the batch is abandoned or completed.
    SELECT * INTO v_batch FROM intake.batches WHERE batch_id = p_batch_id FOR SHARE;

    outcome := 'mismatch';
    IF v_batch.source <> p_source THEN
        field := 'source';
        stored := v_batch.source;
    ELSIF p_lane >= 0 AND v_batch.lane_count <> p_lane_count THEN
        field := 'lane_count';
        stored := v_batch.lane_count;
    ELSIF p_lane >= coalesce(v_batch.lane_count, p_lane_count, 1) THEN
        field := 'lane';
        stored := coalesce(v_batch.lane_count, 1);
    ELSIF v_batch.on_duplicate <> p_on_duplicate THEN
        field := 'on_duplicate';
        stored := v_batch.on_duplicate;
    ELSIF p_lane >= 0 AND v_batch.metadata <> p_metadata THEN
        field := 'metadata';
        stored := v_batch.metadata;
    ELSIF v_batch.abandoned_at IS NOT NULL THEN
        outcome := 'abandoned';
    ELSE
        outcome := 'opened';
        INSERT INTO intake.batch_lanes AS lane (batch_id, lane)
        VALUES (p_batch_id, p_lane)
        ON CONFLICT (batch_id, lane) DO UPDATE SET writer = lane.writer + 1 WHERE p_lane >= 0;
        SELECT l.writer, l.next_offset, l.state = 'finished' INTO STRICT writer, next_offset, finished
        FROM intake.batch_lanes AS l
        WHERE l.batch_id = p_batch_id AND l.lane = p_lane;
    END IF;
END
$$;

COMMENT ON FUNCTION intake.f_open_lane(text, text, integer, integer, text, jsonb, text) IS
    'Opens a lane for a new writer and fences the one before';

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
        WHERE l.load_id = ANY (p_load_ids) AND l.status = 'failed'
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
    intake.f_answer_request, intake.f_normalize_email
    TO leadvault_app;
