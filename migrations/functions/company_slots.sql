-- The slots of companies: staging, and what promotion takes next.

-- Stages rows that differ from the newest slot of their domain and source; says of each whether it was staged,
-- and which slot holds it now. p_positions rise. Rows have a batch and a first offset, to which their positions
-- are added, or each a contact.
--
-- Callers who stage the same domain queue up at its head. Of several rows of one domain in one call each is
-- compared with the one before it, as if each came in a call of its own: each run of equal rows is of the next
-- rank, so that only those of rank 1 can be known already.
CREATE FUNCTION company.f_stage_rows(
    p_positions integer[], p_domains text[], p_sources text[], p_rows jsonb[], p_batch_id text,
    p_first_offset bigint, p_contact_ids bigint[], p_actor text)
RETURNS TABLE (row_position integer, staged boolean, slot_id uuid)
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
#variable_conflict use_column
DECLARE
    v_all record;
BEGIN
    WITH hashed AS (
        SELECT position, domain, source, raw_data, contact_id, gen_random_uuid() AS id,
               sha256(convert_to(raw_data::text, 'UTF8')) AS content_hash
        FROM unnest(p_positions, p_domains, p_sources, p_rows, p_contact_ids)
            AS r (position, domain, source, raw_data, contact_id)
    ), compared AS (
        SELECT *, content_hash IS DISTINCT FROM lag(content_hash) OVER in_order AS differs
        FROM hashed
        WINDOW in_order AS (PARTITION BY domain, source ORDER BY position)
    ), ranked AS (
        SELECT *, count(*) FILTER (WHERE differs) OVER in_order AS rank
        FROM compared
        WINDOW in_order AS (PARTITION BY domain, source ORDER BY position)
    ), named AS (
        SELECT *, first_value(id) OVER (PARTITION BY domain, source, rank ORDER BY position) AS run_id FROM ranked
    )
    SELECT array_agg(position ORDER BY position) AS positions, array_agg(domain ORDER BY position) AS domains,
           array_agg(source ORDER BY position) AS sources, array_agg(raw_data ORDER BY position) AS rows,
           array_agg(contact_id ORDER BY position) AS contact_ids,
           array_agg(content_hash ORDER BY position) AS hashes, array_agg(differs ORDER BY position) AS differs,
           array_agg(rank ORDER BY position) AS ranks, array_agg(run_id ORDER BY position) AS run_ids,
           max(rank) AS versions
    INTO STRICT v_all
    FROM named;

    WITH incoming AS MATERIALIZED (
        SELECT * FROM unnest(v_all.positions, v_all.domains, v_all.sources, v_all.rows, v_all.contact_ids,
                             v_all.hashes, v_all.differs, v_all.ranks, v_all.run_ids)
            AS r (position, domain, source, raw_data, contact_id, content_hash, differs, rank, id)
        WHERE differs
    ), head AS (
        -- Sorted, so that two calls that share domains queue up instead of deadlocking. What is as it was is
        -- locked, and not returned.
        INSERT INTO company.slot_heads AS held (domain, source, slot_id, content_hash)
        SELECT domain, source, id, content_hash FROM incoming WHERE rank = 1 ORDER BY domain, source
        ON CONFLICT (domain, source) DO UPDATE
        SET slot_id = excluded.slot_id, content_hash = excluded.content_hash
        WHERE held.content_hash <> excluded.content_hash
        RETURNING held.slot_id
    )
    INSERT INTO company.slot (id, domain, raw_data, source, batch_id, row_offset, contact_id, staged_by, created_at)
    SELECT i.id, i.domain, i.raw_data, i.source, p_batch_id, p_first_offset + i.position, i.contact_id, p_actor,
           clock_timestamp()
    FROM incoming AS i
    WHERE i.rank > 1 OR i.id IN (SELECT h.slot_id FROM head AS h)
    -- The order of staging.
    ORDER BY i.position;

    RETURN QUERY
    SELECT held.position, held.differs AND held.slot_id = held.run_id, held.slot_id
    FROM (SELECT r.position, r.differs, r.run_id,
                 CASE WHEN r.rank > 1 THEN r.run_id
                      ELSE (SELECT h.slot_id FROM company.slot_heads AS h
                            WHERE h.domain = r.domain AND h.source = r.source) END AS slot_id
          FROM unnest(v_all.positions, v_all.domains, v_all.sources, v_all.differs, v_all.ranks, v_all.run_ids)
              AS r (position, domain, source, differs, rank, run_id)
          OFFSET 0) AS held;

    -- Of several versions of one domain the last is the newest.
    IF v_all.versions > 1 THEN
        UPDATE company.slot_heads AS head
        SET slot_id = newest.id, content_hash = newest.content_hash
        FROM (
            SELECT DISTINCT ON (r.domain, r.source) r.*
            FROM unnest(v_all.domains, v_all.sources, v_all.hashes, v_all.ranks, v_all.run_ids)
                AS r (domain, source, content_hash, rank, id)
            WHERE r.rank > 1
            ORDER BY r.domain, r.source, r.rank DESC
        ) AS newest
        WHERE head.domain = newest.domain AND head.source = newest.source;
    END IF;
END
$$;

COMMENT ON FUNCTION company.f_stage_rows(integer[], text[], text[], jsonb[], text, bigint, bigint[], text) IS
    'Stages rows that differ from the newest slot of their domain and source';

-- Stages the rows of one call, in lane -2 of its batch: the body of StageCompanies. Rows come validated, with
-- normalized domains; positions count from 0 and rise. Of rows that were staged before, the first `replayed`,
-- nothing is done; `fates` and `slot_ids` are those of the others.
CREATE FUNCTION company.f_stage_slots(
    p_batch_id           text,
    p_source             text,
    p_first_offset       bigint,
    p_positions          integer[],
    p_domains            text[],
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
AS $$
#variable_conflict use_variable
DECLARE
    v_row_count integer := cardinality(p_positions) + cardinality(p_rejected_positions);
    v_new       record;
    v_rejected  record;
BEGIN
    SELECT o.outcome, o.field, o.stored, o.first_offset, o.next_offset, o.replayed
    INTO STRICT outcome, field, stored, first_offset, next_offset, replayed
    FROM intake.f_open_staging(p_batch_id, p_source, -2, p_first_offset, v_row_count, p_actor) AS o;
    IF outcome <> 'opened' THEN
        RETURN;
    END IF;
    outcome := 'staged';
    IF replayed = v_row_count THEN
        RETURN;
    END IF;

    SELECT coalesce(array_agg(r.position), '{}') AS positions, coalesce(array_agg(r.domain), '{}') AS domains,
           coalesce(array_agg(p_source), '{}') AS sources, coalesce(array_agg(r.raw_data), '{}') AS rows
    INTO STRICT v_new
    FROM (SELECT * FROM unnest(p_positions, p_domains, p_rows) AS r (position, domain, raw_data)
          WHERE r.position >= replayed
          ORDER BY r.position) AS r;
    SELECT coalesce(array_agg(r.position), '{}') AS positions, coalesce(array_agg(r.reason), '{}') AS reasons,
           coalesce(array_agg(r.pointer), '{}') AS pointers, coalesce(array_agg(r.detail), '{}') AS details,
           coalesce(array_agg(r.original), '{}') AS originals
    INTO STRICT v_rejected
    FROM (SELECT r.position - replayed AS position, r.reason, r.pointer, r.detail, r.original
          FROM unnest(p_rejected_positions, p_reasons, p_pointers, p_details, p_originals)
              AS r (position, reason, pointer, detail, original)
          WHERE r.position >= replayed
          ORDER BY r.position) AS r;

    SELECT convert_to(string_agg(r.fate, '' ORDER BY r.position), 'UTF8'), array_agg(r.slot_id ORDER BY r.position)
    INTO STRICT fates, slot_ids
    FROM (SELECT s.row_position AS position, CASE WHEN s.staged THEN 'a' ELSE 'd' END AS fate, s.slot_id
          FROM company.f_stage_rows(v_new.positions, v_new.domains, v_new.sources, v_new.rows, p_batch_id,
                                    first_offset, NULL, p_actor) AS s
          UNION ALL
          SELECT replayed + position, 'r', NULL FROM unnest(v_rejected.positions) AS position) AS r;

    PERFORM intake.f_close_staging(p_batch_id, -2, first_offset + replayed, fates, v_rejected.positions,
                                   v_rejected.reasons, v_rejected.pointers, v_rejected.details,
                                   v_rejected.originals, p_actor);
END
$$;

COMMENT ON FUNCTION company.f_stage_slots(text, text, bigint, integer[], text[], jsonb[], integer[], text[], text[],
                                          text[], bytea[], text) IS
    'Stages the rows of one call: slots, rejected rows, fates and the next offset, all or nothing';

-- Stages contacts that are as they were read, that were not staged in that version, and that are not deleted: the
-- body of StageCompaniesFromVault. A contact without a domain makes no slot. Ids rise.
CREATE FUNCTION company.f_stage_contacts(
    p_contact_ids bigint[], p_versions timestamptz[], p_domains text[], p_rows jsonb[], p_sources text[],
    p_actor text,
    OUT staged bigint, OUT unchanged bigint, OUT skipped bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_due  record;
    v_rows record;
BEGIN
    -- Two callers who stage one contact queue up here, and the second sees what the first did.
    INSERT INTO company.staged_contacts (contact_id, contact_updated_at)
    SELECT c.contact_id, '-infinity' FROM unnest(p_contact_ids) AS c (contact_id) ORDER BY c.contact_id
    ON CONFLICT (contact_id) DO NOTHING;
    PERFORM 1 FROM company.staged_contacts AS held
    WHERE held.contact_id = ANY (p_contact_ids)
    ORDER BY held.contact_id
    FOR UPDATE;

    SELECT array_agg(d.contact_id) AS contact_ids, array_agg(d.version) AS versions, array_agg(d.hash) AS hashes,
           count(*) FILTER (WHERE d.hash IS NULL) AS skipped,
           count(*) FILTER (WHERE d.hash = d.hash_before) AS unchanged,
           coalesce(array_agg(d.contact_id) FILTER (WHERE d.differs), '{}') AS new_ids,
           coalesce(array_agg(d.domain) FILTER (WHERE d.differs), '{}') AS new_domains,
           coalesce(array_agg(d.source) FILTER (WHERE d.differs), '{}') AS new_sources,
           coalesce(array_agg(d.raw_data) FILTER (WHERE d.differs), '{}') AS new_rows
    INTO STRICT v_due
    FROM (
        SELECT r.contact_id, r.version, r.domain, r.source, r.raw_data, r.hash, held.content_hash AS hash_before,
               r.hash IS DISTINCT FROM held.content_hash AND r.hash IS NOT NULL AS differs
        FROM (SELECT contact_id, version, domain, raw_data, source,
                     sha256(convert_to(raw_data::text, 'UTF8')) AS hash
              FROM unnest(p_contact_ids, p_versions, p_domains, p_rows, p_sources)
                  AS r (contact_id, version, domain, raw_data, source)) AS r
        JOIN company.staged_contacts AS held ON held.contact_id = r.contact_id
        -- One that changed since it was read is left to whoever reads it next.
        JOIN vault.contacts AS c ON c.contact_id = r.contact_id AND c.updated_at = r.version
        WHERE held.contact_updated_at <> r.version AND NOT vault.f_is_gone(c.contact_id, c.status)
        ORDER BY r.contact_id) AS d;

    SELECT count(*) FILTER (WHERE s.staged) AS staged, count(*) FILTER (WHERE NOT s.staged) AS unchanged
    INTO STRICT v_rows
    FROM company.f_stage_rows(
        ARRAY(SELECT generate_series(1, cardinality(v_due.new_ids))), v_due.new_domains, v_due.new_sources,
        v_due.new_rows, NULL, NULL, v_due.new_ids, p_actor) AS s;

    UPDATE company.staged_contacts AS held
    SET contact_updated_at = d.version, content_hash = d.hash
    FROM unnest(v_due.contact_ids, v_due.versions, v_due.hashes) AS d (contact_id, version, hash)
    WHERE held.contact_id = d.contact_id;

    staged := v_rows.staged;
    unchanged := v_due.unchanged + v_rows.unchanged;
    skipped := v_due.skipped;
END
$$;

COMMENT ON FUNCTION company.f_stage_contacts(bigint[], timestamptz[], text[], jsonb[], text[], text) IS
    'Stages contacts that are new or changed since they were staged';

-- Takes the next pending slots after one, in order, until the transaction ends: of some ids, of a batch, or of
-- all. Those that somebody else took are left to them. Ends with the slot whose row makes it p_max_bytes: what
-- comes after is neither locked nor read.
--
-- As in people.f_take_pending: sorting and bitmaps are off, so that idx_company_slot_pending and
-- idx_company_slot_batch_id are walked from the cursor on; and what is not to be the index that is walked is written
-- as an expression, or a batch would be looked for among the pending slots of all.
CREATE FUNCTION company.f_take_pending(
    p_slot_ids uuid[], p_batch_id text, p_after bigint, p_most integer, p_max_bytes bigint)
RETURNS TABLE (id uuid, slot_number bigint, domain text, raw_data text)
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
    -- On an older snapshot the lock would show nothing of what committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'slots are promoted in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;
    IF p_slot_ids IS NOT NULL THEN
        OPEN v_pending NO SCROLL FOR
            SELECT s.id, s.slot_number, s.domain, s.raw_data FROM company.slot AS s
            WHERE s.id = ANY (p_slot_ids) AND s.validation_status || '' = 'pending' AND s.slot_number + 0 > p_after
            ORDER BY s.slot_number + 0
            LIMIT p_most
            FOR NO KEY UPDATE SKIP LOCKED;
    ELSIF p_batch_id IS NOT NULL THEN
        OPEN v_pending NO SCROLL FOR
            SELECT s.id, s.slot_number, s.domain, s.raw_data FROM company.slot AS s
            WHERE s.batch_id = p_batch_id AND s.validation_status || '' = 'pending' AND s.slot_number > p_after
            ORDER BY s.batch_id, s.slot_number
            LIMIT p_most
            FOR NO KEY UPDATE SKIP LOCKED;
    ELSE
        OPEN v_pending NO SCROLL FOR
            SELECT s.id, s.slot_number, s.domain, s.raw_data FROM company.slot AS s
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
        domain := v_slot.domain;
        raw_data := v_slot.raw_data::text;
        RETURN NEXT;
        v_bytes := v_bytes + octet_length(raw_data);
        EXIT WHEN v_bytes >= p_max_bytes;
    END LOOP;
    CLOSE v_pending;
END
$$;

COMMENT ON FUNCTION company.f_take_pending(uuid[], text, bigint, integer, bigint) IS
    'Takes the next pending slots until the transaction ends';

GRANT EXECUTE ON FUNCTION
    company.f_stage_slots, company.f_stage_contacts, company.f_take_pending
    TO leadvault_app;
