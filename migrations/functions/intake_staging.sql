-- What staging shares with intake: a row that is staged is a row of a batch too, in lane -2 (companies) or -3
-- (people), so that its fate and a rejected row are kept and found like any.

-- Opens the lane of staged rows for one call, and holds it until the transaction ends. Rows below the lane's
-- next offset were staged before: `replayed` says how many of this call's. A NULL p_first_offset appends.
CREATE FUNCTION intake.f_open_staging(
    p_batch_id text, p_source text, p_lane integer, p_first_offset bigint, p_row_count integer, p_actor text,
    OUT outcome      text,
    OUT field        text,
    OUT stored       text,
    OUT first_offset bigint,
    OUT next_offset  bigint,
    OUT replayed     integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_lane intake.batch_lanes;
BEGIN
    SELECT o.outcome, o.field, o.stored INTO STRICT outcome, field, stored
    FROM intake.f_open_lane(p_batch_id, p_source, p_lane, NULL, NULL, NULL, p_actor) AS o;
    IF outcome <> 'opened' THEN
        RETURN;
    END IF;
    SELECT * INTO STRICT v_lane FROM intake.batch_lanes
    WHERE batch_id = p_batch_id AND lane = p_lane
    FOR UPDATE;
    next_offset := v_lane.next_offset;
    first_offset := coalesce(p_first_offset, v_lane.next_offset);
    IF v_lane.state = 'abandoned' THEN
        outcome := 'abandoned';
    ELSIF first_offset > v_lane.next_offset THEN
        outcome := 'offset_gap';
    ELSE
        replayed := least(v_lane.next_offset - first_offset, p_row_count);
    END IF;
END
$$;

COMMENT ON FUNCTION intake.f_open_staging(text, text, integer, bigint, integer, text) IS
    'Opens the lane of staged rows for one call, and says how many of its rows were staged before';

-- Keeps the fates of a call's new rows and its rejected rows, and moves the lane on. p_first_offset is that of
-- the first new row, to which the positions of the rejected ones are added.
CREATE FUNCTION intake.f_close_staging(
    p_batch_id text, p_lane integer, p_first_offset bigint, p_fates bytea, p_rejected_positions integer[],
    p_reasons text[], p_pointers text[], p_details text[], p_originals bytea[], p_actor text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now   timestamptz := clock_timestamp();
    v_tally record;
BEGIN
    INSERT INTO intake.rejected_rows
        (batch_id, lane, row_offset, reason, pointer, detail, original, original_size, created_at)
    SELECT p_batch_id, p_lane, p_first_offset + r.position, r.reason, r.pointer, r.detail, r.original,
           octet_length(r.original), v_now
    FROM unnest(p_rejected_positions, p_reasons, p_pointers, p_details, p_originals)
        AS r (position, reason, pointer, detail, original)
    ORDER BY r.position;

    INSERT INTO intake.batch_chunks (batch_id, lane, first_offset, row_count, fates, created_at)
    VALUES (p_batch_id, p_lane, p_first_offset, octet_length(p_fates), p_fates, v_now);

    SELECT count(*) FILTER (WHERE fate = 'a') AS accepted, count(*) FILTER (WHERE fate = 'd') AS duplicate,
           count(*) FILTER (WHERE fate = 'r') AS rejected
    INTO STRICT v_tally
    FROM string_to_table(convert_from(p_fates, 'UTF8'), NULL) AS f (fate);
    UPDATE intake.batch_lanes AS l
    SET next_offset = l.next_offset + octet_length(p_fates),
        accepted = l.accepted + v_tally.accepted,
        duplicate = l.duplicate + v_tally.duplicate,
        rejected = l.rejected + v_tally.rejected
    WHERE l.batch_id = p_batch_id AND l.lane = p_lane;
    PERFORM intake.f_audit_batch('batch_processed', p_batch_id, p_lane, v_tally.accepted, v_tally.duplicate,
                                 v_tally.rejected, p_actor);
END
$$;

COMMENT ON FUNCTION intake.f_close_staging(text, integer, bigint, bytea, integer[], text[], text[], text[], bytea[],
                                           text) IS
    'Keeps the fates of staged rows and those that were rejected, and moves their lane on';
