-- Staging: rows and contacts become slots, recognised by content. And what promotion takes next.
--
-- A row makes a slot when its content differs from the newest slot of its email and source. The row of
-- people.slot_heads says which that is, and is where stagings of one email and source queue up.

-- Puts rows into slots and moves the heads. Rows come ranked: of one email and source the first has rank 1, and
-- each that differs from the one before it the next rank; callers leave out what is equal to the one before it.
-- So only those of rank 1 can be known already. Returns the slot of each: where it is not the id that came with
-- the row, the content was known.
CREATE FUNCTION people.f_put_slots(
    p_slot_ids uuid[], p_emails text[], p_sources text[], p_rows jsonb[], p_hashes bytea[], p_ranks integer[],
    p_batch_id text, p_offsets bigint[], p_contact_ids bigint[], p_actor text)
RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Heads are probed by their key, whatever statistics say: a join of another kind would read all of them.
SET enable_nestloop = on
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '64MB'
SET jit = off
AS $$
DECLARE
    v_slots uuid[];
BEGIN
    -- Heads sorted, so that two stagings that share some queue up instead of deadlocking; also a head that stays
    -- is locked. Slots in the order of the rows, which their numbers follow.
    WITH sent AS MATERIALIZED (
        SELECT s.*
        FROM unnest(p_slot_ids, p_emails, p_sources, p_rows, p_hashes, p_ranks, p_offsets, p_contact_ids)
            WITH ORDINALITY AS s (id, email, source, raw_data, hash, rank, row_offset, contact_id, nth)
    ), heads AS (
        INSERT INTO people.slot_heads AS head (email, source, slot_id, content_hash)
        SELECT s.email, s.source, s.id, s.hash FROM sent AS s WHERE s.rank = 1 ORDER BY s.email, s.source
        ON CONFLICT (email, source) DO UPDATE
        SET slot_id = excluded.slot_id, content_hash = excluded.content_hash
        WHERE head.content_hash <> excluded.content_hash
        RETURNING head.slot_id
    )
    INSERT INTO people.slot (id, email, raw_data, created_at, source, batch_id, row_offset, contact_id, staged_by)
    SELECT s.id, s.email, s.raw_data, clock_timestamp(), s.source, p_batch_id, s.row_offset, s.contact_id, p_actor
    FROM sent AS s
    WHERE s.rank > 1 OR s.id IN (SELECT h.slot_id FROM heads AS h)
    ORDER BY s.nth;

    SELECT array_agg(CASE WHEN s.rank > 1 THEN s.id ELSE head.slot_id END ORDER BY s.nth) INTO STRICT v_slots
    FROM unnest(p_slot_ids, p_emails, p_sources, p_ranks) WITH ORDINALITY AS s (id, email, source, rank, nth)
    JOIN people.slot_heads AS head ON head.email = s.email AND head.source = s.source;

    -- Of several contents of one email the last is the newest.
    IF EXISTS (SELECT FROM unnest(p_ranks) AS r (rank) WHERE r.rank > 1) THEN
        UPDATE people.slot_heads AS head
        SET slot_id = l.id, content_hash = l.hash
        FROM (
            SELECT DISTINCT ON (s.email, s.source) s.*
            FROM unnest(p_slot_ids, p_emails, p_sources, p_hashes, p_ranks) AS s (id, email, source, hash, rank)
            WHERE s.rank > 1
            ORDER BY s.email, s.source, s.rank DESC
        ) AS l
        WHERE head.email = l.email AND head.source = l.source;
    END IF;
    RETURN coalesce(v_slots, '{}');
END
$$;

COMMENT ON FUNCTION people.f_put_slots(uuid[], text[], text[], jsonb[], bytea[], integer[], text, bigint[],
                                       bigint[], text) IS
    'Puts ranked rows into slots where their content is new; returns the slot of each';

-- Stages rows: into slots, or among the rejected rows, with their fates in lane -3 of their batch. Positions
-- count from 0. Rows at offsets that the lane holds already were staged before and change nothing: `replayed` says
-- how many of the first ones they are, and fates and slots are those of the others.
CREATE FUNCTION people.f_stage_slots(
    p_batch_id           text,
    p_source             text,
    p_first_offset       bigint,
    p_positions          integer[],
    p_emails             text[],
    p_rows               jsonb[],
    p_rejected_positions integer[],
    p_reasons            text[],
    p_pointers           text[],
    p_details            text[],
    p_originals          bytea[],
    p_actor              text,
    OUT outcome      text,
    OUT field        text,
    OUT stored       text,
    OUT first_offset bigint,
    OUT next_offset  bigint,
    OUT replayed     integer,
    OUT fates        bytea,
    OUT slot_ids     uuid[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET work_mem = '64MB'
SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    v_row_count integer := cardinality(p_positions) + cardinality(p_rejected_positions);
    v_rejected  record;
BEGIN
    SELECT o.outcome, o.field, o.stored, o.first_offset, o.next_offset, o.replayed
    INTO STRICT outcome, field, stored, first_offset, next_offset, replayed
    FROM intake.f_open_staging(p_batch_id, p_source, -3, p_first_offset, v_row_count, p_actor) AS o;
    IF outcome <> 'opened' THEN
        RETURN;
    END IF;
    outcome := 'staged';
    IF replayed = v_row_count THEN
        RETURN;
    END IF;

    SELECT coalesce(array_agg(r.position), '{}') AS positions, array_agg(r.reason) AS reasons,
           array_agg(r.pointer) AS pointers, array_agg(r.detail) AS details, array_agg(r.original) AS originals
    INTO STRICT v_rejected
    FROM unnest(p_rejected_positions, p_reasons, p_pointers, p_details, p_originals)
        AS r (position, reason, pointer, detail, original)
    WHERE r.position >= replayed;
    SELECT convert_to(string_agg(r.fate, '' ORDER BY r.position), 'UTF8'),
           array_agg(r.slot_id ORDER BY r.position)
    INTO STRICT fates, slot_ids
    FROM (SELECT n.position, n.fate, n.slot_id
          FROM people.f_stage_new(p_batch_id, p_source, first_offset, replayed, p_positions, p_emails, p_rows,
                                  p_actor) AS n
          UNION ALL
          SELECT p.position, 'r', NULL FROM unnest(v_rejected.positions) AS p (position)) AS r;

    -- Its positions count from the first new row on.
    PERFORM intake.f_close_staging(
        p_batch_id, -3, next_offset, fates,
        ARRAY(SELECT p.position - replayed FROM unnest(v_rejected.positions) AS p (position)),
        v_rejected.reasons, v_rejected.pointers, v_rejected.details, v_rejected.originals, p_actor);
    next_offset := first_offset + v_row_count;
END
$$;

COMMENT ON FUNCTION people.f_stage_slots(text, text, bigint, integer[], text[], jsonb[], integer[], text[],
                                         text[], text[], bytea[], text) IS
    'Stages rows of one batch and source into slots, recognised by content, or keeps them as rejected';

-- Puts good rows from a position on into slots: the fate and the slot of each.
CREATE FUNCTION people.f_stage_new(
    p_batch_id text, p_source text, p_first_offset bigint, p_from integer, p_positions integer[],
    p_emails text[], p_rows jsonb[], p_actor text)
RETURNS TABLE ("position" integer, fate text, slot_id uuid)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET work_mem = '64MB'
SET enable_nestloop = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_sent record;
    v_new  record;
BEGIN
    -- The rank counts the contents of one email in this call; a row that repeats the one before it has its rank.
    WITH sent AS (
        SELECT s.position, s.email, s.raw_data, sha256(convert_to(s.raw_data::text, 'UTF8')) AS hash
        FROM unnest(p_positions, p_emails, p_rows) AS s (position, email, raw_data)
        WHERE s.position >= p_from
        OFFSET 0
    ), compared AS (
        SELECT *, hash IS DISTINCT FROM lag(hash) OVER (PARTITION BY email ORDER BY position) AS differs
        FROM sent
    ), ranked AS (
        SELECT *, count(*) FILTER (WHERE differs) OVER (PARTITION BY email ORDER BY position)::integer AS rank
        FROM compared
    )
    SELECT array_agg(position ORDER BY position) AS positions, array_agg(email ORDER BY position) AS emails,
           array_agg(rank ORDER BY position) AS ranks, array_agg(differs ORDER BY position) AS differ,
           array_agg(raw_data ORDER BY position) AS rows, array_agg(hash ORDER BY position) AS hashes
    INTO STRICT v_sent
    FROM ranked;

    SELECT array_agg(gen_random_uuid() ORDER BY s.position) AS ids, array_agg(s.email ORDER BY s.position) AS emails,
           array_agg(p_source ORDER BY s.position) AS sources, array_agg(s.raw_data ORDER BY s.position) AS rows,
           array_agg(s.hash ORDER BY s.position) AS hashes, array_agg(s.rank ORDER BY s.position) AS ranks,
           array_agg(p_first_offset + s.position ORDER BY s.position) AS offsets
    INTO STRICT v_new
    FROM unnest(v_sent.positions, v_sent.emails, v_sent.ranks, v_sent.differ, v_sent.rows, v_sent.hashes)
        AS s (position, email, rank, differs, raw_data, hash)
    WHERE s.differs;

    RETURN QUERY
    SELECT s.position, CASE WHEN s.differs AND n.id = n.slot_id THEN 'a' ELSE 'd' END, n.slot_id
    FROM unnest(v_sent.positions, v_sent.emails, v_sent.ranks, v_sent.differ) AS s (position, email, rank, differs)
    JOIN unnest(v_new.ids, v_new.emails, v_new.ranks,
                people.f_put_slots(v_new.ids, v_new.emails, v_new.sources, v_new.rows, v_new.hashes, v_new.ranks,
                                   p_batch_id, v_new.offsets, NULL, p_actor))
        AS n (id, email, rank, slot_id) ON n.email = s.email AND n.rank = s.rank;
END
$$;

COMMENT ON FUNCTION people.f_stage_new(text, text, bigint, integer, integer[], text[], jsonb[], text) IS
    'Puts rows of one batch and source into slots; the fate and the slot of each';

-- Stages contacts, each with the row that the caller made of it, as long as it still is of the version that was
-- read; others are in no count, and met again by whoever looks for changes next. Their rows in staged_contacts are
-- where callers at once queue up: who comes later finds the version that the first one staged, and nothing to do.
-- A contact without a row makes no slot, and is remembered; one that is deleted is neither.
CREATE FUNCTION people.f_stage_contacts(
    p_contact_ids bigint[], p_versions timestamptz[], p_emails text[], p_rows jsonb[], p_sources text[],
    p_actor text, OUT staged bigint, OUT unchanged bigint, OUT skipped bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As above, of contacts.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '64MB'
SET jit = off
AS $$
DECLARE
    v_changed record;
BEGIN
    INSERT INTO people.staged_contacts (contact_id, contact_updated_at)
    SELECT i.id, '-infinity' FROM unnest(p_contact_ids) AS i (id) ORDER BY i.id
    ON CONFLICT (contact_id) DO NOTHING;
    PERFORM 1 FROM people.staged_contacts AS s WHERE s.contact_id = ANY (p_contact_ids)
    ORDER BY s.contact_id
    FOR UPDATE;

    -- Read after the lock.
    WITH sent AS (
        SELECT r.*, sha256(convert_to(r.raw_data::text, 'UTF8')) AS hash
        FROM unnest(p_contact_ids, p_versions, p_emails, p_rows, p_sources)
            AS r (contact_id, version, email, raw_data, source)
        JOIN people.staged_contacts AS s ON s.contact_id = r.contact_id AND s.contact_updated_at <> r.version
        JOIN vault.contacts AS c ON c.contact_id = r.contact_id AND c.updated_at = r.version
        WHERE NOT vault.f_is_gone(c.contact_id, c.status)
        OFFSET 0
    ), remembered AS (
        UPDATE people.staged_contacts AS s
        SET contact_updated_at = r.version, content_hash = r.hash
        FROM sent AS r
        JOIN people.staged_contacts AS before ON before.contact_id = r.contact_id
        WHERE s.contact_id = r.contact_id
        RETURNING r.*, r.raw_data IS NOT NULL AND before.content_hash IS DISTINCT FROM r.hash AS differs
    )
    SELECT count(*) AS looked_at, count(*) FILTER (WHERE raw_data IS NULL) AS skipped,
           array_agg(gen_random_uuid() ORDER BY contact_id) FILTER (WHERE differs) AS ids,
           array_agg(contact_id ORDER BY contact_id) FILTER (WHERE differs) AS contact_ids,
           array_agg(email ORDER BY contact_id) FILTER (WHERE differs) AS emails,
           array_agg(source ORDER BY contact_id) FILTER (WHERE differs) AS sources,
           array_agg(raw_data ORDER BY contact_id) FILTER (WHERE differs) AS rows,
           array_agg(hash ORDER BY contact_id) FILTER (WHERE differs) AS hashes,
           array_agg(1 ORDER BY contact_id) FILTER (WHERE differs) AS ranks
    INTO STRICT v_changed
    FROM remembered;

    SELECT count(*) FILTER (WHERE n.id = n.slot_id) INTO STRICT staged
    FROM unnest(v_changed.ids,
                people.f_put_slots(v_changed.ids, v_changed.emails, v_changed.sources, v_changed.rows,
                                   v_changed.hashes, v_changed.ranks, NULL, NULL, v_changed.contact_ids, p_actor))
        AS n (id, slot_id);
    skipped := v_changed.skipped;
    unchanged := v_changed.looked_at - staged - skipped;
    -- Of contacts that were not staged after all nothing is remembered.
    DELETE FROM people.staged_contacts AS s
    WHERE s.contact_id = ANY (p_contact_ids) AND s.contact_updated_at = '-infinity';
END
$$;

COMMENT ON FUNCTION people.f_stage_contacts(bigint[], timestamptz[], text[], jsonb[], text[], text) IS
    'Stages contacts that still are of the version that was read, where that was not staged before';

-- Forgets that slots were staged, whose contacts were deleted: should one come back, its content is new.
CREATE FUNCTION people.f_forget_slots(p_slot_ids uuid[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- In the order of stagings, which take contacts first.
    PERFORM 1 FROM people.staged_contacts AS c
    WHERE c.contact_id IN (SELECT s.contact_id FROM people.slot AS s WHERE s.id = ANY (p_slot_ids))
    ORDER BY c.contact_id
    FOR UPDATE;
    PERFORM 1 FROM people.slot_heads AS h
    WHERE h.slot_id = ANY (p_slot_ids)
    ORDER BY h.email, h.source
    FOR UPDATE;
    DELETE FROM people.staged_contacts AS c
    USING people.slot AS s
    WHERE s.id = ANY (p_slot_ids) AND c.contact_id = s.contact_id;
    DELETE FROM people.slot_heads AS h WHERE h.slot_id = ANY (p_slot_ids);
END
$$;

COMMENT ON FUNCTION people.f_forget_slots(uuid[]) IS
    'Forgets that slots were staged, so that their contacts can be staged again';

-- Takes the next pending slots after one, in the order of staging, until the transaction ends: of p_ids, of a
-- batch, or of all. Those that somebody else took are left to them. Ends with the slot whose row makes it
-- p_max_bytes: what comes after is neither locked nor read.
--
-- Sorting and bitmaps are off, so that idx_people_slot_pending and idx_people_slot_batch_id are walked from the
-- cursor on, whatever statistics say of a table that was just filled; and what is not to be the index that is
-- walked is written as an expression.
CREATE FUNCTION people.f_take_pending(
    p_ids uuid[], p_batch_id text, p_after bigint, p_most integer, p_max_bytes bigint)
RETURNS TABLE (id uuid, slot_number bigint, email text, raw_data text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '64MB'
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_pending refcursor;
    v_slot    record;
    v_bytes   bigint := 0;
BEGIN
    -- On an older snapshot the locks would show nothing of what committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'slots are promoted in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(vault.f_ledger_lock());
    PERFORM pg_advisory_xact_lock_shared(company.f_link_lock());

    IF p_ids IS NOT NULL THEN
        OPEN v_pending NO SCROLL FOR
            SELECT s.id, s.slot_number, s.email, s.raw_data FROM people.slot AS s
            WHERE s.id = ANY (p_ids) AND s.validation_status || '' = 'pending' AND s.slot_number + 0 > p_after
            ORDER BY s.slot_number + 0
            LIMIT p_most
            FOR NO KEY UPDATE SKIP LOCKED;
    ELSIF p_batch_id IS NOT NULL THEN
        OPEN v_pending NO SCROLL FOR
            SELECT s.id, s.slot_number, s.email, s.raw_data FROM people.slot AS s
            WHERE s.batch_id = p_batch_id AND s.validation_status || '' = 'pending' AND s.slot_number > p_after
            ORDER BY s.batch_id, s.slot_number
            LIMIT p_most
            FOR NO KEY UPDATE SKIP LOCKED;
    ELSE
        OPEN v_pending NO SCROLL FOR
            SELECT s.id, s.slot_number, s.email, s.raw_data FROM people.slot AS s
            WHERE s.validation_status = 'pending' AND s.slot_number > p_after
            ORDER BY s.slot_number
            LIMIT p_most
            FOR NO KEY UPDATE SKIP LOCKED;
    END IF;
    -- A slot is locked when it is fetched, and its row unpacked here.
    LOOP
        FETCH v_pending INTO v_slot;
        EXIT WHEN NOT FOUND;
        id := v_slot.id;
        slot_number := v_slot.slot_number;
        email := v_slot.email;
        raw_data := v_slot.raw_data::text;
        RETURN NEXT;
        v_bytes := v_bytes + octet_length(raw_data);
        EXIT WHEN v_bytes >= p_max_bytes;
    END LOOP;
    CLOSE v_pending;
END
$$;

COMMENT ON FUNCTION people.f_take_pending(uuid[], text, bigint, integer, bigint) IS
    'Locks the next pending slots that nobody else is promoting, and returns them in the order of staging';

GRANT EXECUTE ON FUNCTION people.f_stage_slots, people.f_stage_contacts, people.f_take_pending TO leadvault_app;
