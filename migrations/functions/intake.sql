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
