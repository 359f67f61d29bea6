-- Touches and conversions.

-- What reached a person, and when: the one definition of a touch, which conversions, the attribution report and
-- bit.attribution read. A message is a touch when it was sent, unless it bounced unseen; with `kind = 'opened'`
-- its first open is one of its own. Clocks of providers differ from ours, but no message is opened before it is
-- sent.
--
-- The touches of a person are in the order of touched_at, then messages before opens, then outreach_id. Those of
-- a conversion are the ones with touched_at at its converted_at or before.
CREATE VIEW marketing.touches
WITH (security_invoker = true)
AS
SELECT o.person_id, o.id AS outreach_id, o.campaign_id, o.channel, 'sent'::text AS kind, o.sent_at AS touched_at
FROM marketing.outreach_history AS o
WHERE o.status <> 'bounced' OR o.opened_at IS NOT NULL OR o.replied_at IS NOT NULL
UNION ALL
SELECT o.person_id, o.id, o.campaign_id, o.channel, 'opened', greatest(o.opened_at, o.sent_at)
FROM marketing.outreach_history AS o
WHERE o.opened_at IS NOT NULL;

COMMENT ON VIEW marketing.touches IS
    'What reached people: messages that did not bounce unseen, and, as touches of their own, their first opens';
COMMENT ON COLUMN marketing.touches.person_id IS 'The person who was reached';
COMMENT ON COLUMN marketing.touches.outreach_id IS 'The message';
COMMENT ON COLUMN marketing.touches.campaign_id IS 'The campaign, if the message belonged to one';
COMMENT ON COLUMN marketing.touches.channel IS 'Channel (email, linkedin, phone)';
COMMENT ON COLUMN marketing.touches.kind IS 'What the touch is (sent, opened)';
COMMENT ON COLUMN marketing.touches.touched_at IS 'When it was sent, or opened';

-- Records conversions; one row each comes back, in order. Who repeats an id with the same values changes nothing
-- and gets what is stored (nothing where nothing is); a touchpoint that is left out agrees with whatever is stored, since it was filled in
-- then. Of one id that is given twice the first that can be stored is.
--
-- Reads what others committed while it waited for their ids, so that it needs READ COMMITTED.
CREATE FUNCTION marketing.f_record_conversions(
    p_ids uuid[], p_person_ids uuid[], p_campaign_ids uuid[], p_types text[], p_converted_at timestamptz[],
    p_values numeric[], p_sources text[], p_finals text[])
RETURNS TABLE (
    outcome text, replayed boolean, id uuid, person_id uuid, campaign_id uuid, conversion_type text,
    converted_at timestamptz, value numeric, source_touchpoint text, final_touchpoint text)
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
    v_refusals text[];
    v_added    uuid[];
BEGIN
    IF cardinality(p_ids) <> ANY (
        ARRAY[cardinality(p_person_ids), cardinality(p_campaign_ids), cardinality(p_types),
              cardinality(p_converted_at), cardinality(p_values), cardinality(p_sources), cardinality(p_finals)])
    THEN
        RAISE EXCEPTION 'f_record_conversions takes as many of each value'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- What is found here is still there when it is referred to.
    PERFORM 1 FROM marketing.campaigns AS c
    WHERE c.campaign_id = ANY (p_campaign_ids)
    ORDER BY c.campaign_id
    FOR KEY SHARE;
    PERFORM 1 FROM people.master AS p
    WHERE p.id = ANY (p_person_ids)
    ORDER BY p.id
    FOR KEY SHARE;

    SELECT array_agg(
               CASE WHEN p.id IS NULL THEN 'person_unknown'
                    WHEN e.campaign_id IS NOT NULL AND c.campaign_id IS NULL THEN 'campaign_unknown'
                    WHEN e.converted_at > clock_timestamp() + interval '5 minutes' THEN 'in_future' END
               ORDER BY e.nth)
    INTO STRICT v_refusals
    FROM unnest(p_person_ids, p_campaign_ids, p_converted_at) WITH ORDINALITY
        AS e (person_id, campaign_id, converted_at, nth)
    LEFT JOIN people.master AS p ON p.id = e.person_id
    LEFT JOIN marketing.campaigns AS c ON c.campaign_id = e.campaign_id;

    WITH sent AS (
        SELECT DISTINCT ON (e.id) e.*
        FROM unnest(p_ids, p_person_ids, p_campaign_ids, p_types, p_converted_at, p_values, p_sources, p_finals,
                    v_refusals) WITH ORDINALITY
            AS e (id, person_id, campaign_id, type, converted_at, value, source, final, refusal, nth)
        WHERE e.refusal IS NULL
        ORDER BY e.id, e.nth
    ), added AS (
        INSERT INTO marketing.attribution AS a
            (id, person_id, campaign_id, conversion_type, converted_at, value, source_touchpoint, final_touchpoint)
        SELECT e.id, e.person_id, e.campaign_id, e.type, e.converted_at, e.value,
               coalesce(e.source, first.channel), coalesce(e.final, last.channel)
        FROM sent AS e
        LEFT JOIN LATERAL (
            SELECT t.channel FROM marketing.touches AS t
            WHERE t.person_id = e.person_id AND t.kind = 'sent' AND t.touched_at <= e.converted_at
            ORDER BY t.touched_at, t.outreach_id
            LIMIT 1) AS first ON e.source IS NULL
        LEFT JOIN LATERAL (
            SELECT t.channel FROM marketing.touches AS t
            WHERE t.person_id = e.person_id AND t.kind = 'sent' AND t.touched_at <= e.converted_at
            ORDER BY t.touched_at DESC, t.outreach_id DESC
            LIMIT 1) AS last ON e.final IS NULL
        -- Two callers with the same ids do not wait for each other in a circle.
        ORDER BY e.id
        ON CONFLICT ON CONSTRAINT attribution_pkey DO NOTHING
        RETURNING a.id
    )
    SELECT coalesce(array_agg(a.id), '{}') INTO STRICT v_added FROM added AS a;

    RETURN QUERY
    WITH sent AS (
        SELECT e.*, min(e.nth) FILTER (WHERE e.refusal IS NULL) OVER (PARTITION BY e.id) AS first_nth
        FROM unnest(p_ids, p_person_ids, p_campaign_ids, p_types, p_converted_at, p_values, p_sources, p_finals,
                    v_refusals) WITH ORDINALITY
            AS e (id, person_id, campaign_id, type, converted_at, value, source, final, refusal, nth)
    )
    SELECT CASE WHEN a.id IS NULL THEN e.refusal
                WHEN (a.person_id, a.conversion_type, a.converted_at) = (e.person_id, e.type, e.converted_at)
                     AND a.campaign_id IS NOT DISTINCT FROM e.campaign_id
                     AND a.value IS NOT DISTINCT FROM e.value
                     AND coalesce(a.source_touchpoint = e.source, e.source IS NULL)
                     AND coalesce(a.final_touchpoint = e.final, e.final IS NULL) THEN 'recorded'
                ELSE 'id_conflict' END,
           coalesce(e.nth <> e.first_nth, true) OR e.id <> ALL (v_added),
           a.id, a.person_id, a.campaign_id, a.conversion_type, a.converted_at, a.value, a.source_touchpoint,
           a.final_touchpoint
    FROM sent AS e
    LEFT JOIN marketing.attribution AS a ON a.id = e.id
    ORDER BY e.nth;
END
$$;

COMMENT ON FUNCTION marketing.f_record_conversions(
    uuid[], uuid[], uuid[], text[], timestamptz[], numeric[], text[], text[]) IS
    'Records conversions; touchpoints that are left out are filled from the person''s messages. One row each, in order';

GRANT EXECUTE ON FUNCTION marketing.f_record_conversions TO leadvault_app;
