-- What is known of people: one row a person, the one that was fetched last. It is stale some time after it
-- was fetched, and not served from then on (law 14); the sweep of ple purges it.
--
-- Rows may also have been written past these functions, several of one person: the newest counts, and the
-- next store leaves only itself.

-- Two texts of JSON are compared as PostgreSQL prints them: 1 and 1.0 are equal as jsonb, and a source may
-- mean either.
CREATE FUNCTION people.f_same_intelligence(p_one people.intelligence, p_other people.intelligence)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (p_one.linkedin_data::text, p_one.skills, p_one.experience::text, p_one.education::text,
        p_one.fetched_at, p_one.stale_at)
       IS NOT DISTINCT FROM
       (p_other.linkedin_data::text, p_other.skills, p_other.experience::text, p_other.education::text,
        p_other.fetched_at, p_other.stale_at);

COMMENT ON FUNCTION people.f_same_intelligence(people.intelligence, people.intelligence) IS
    'Whether two rows say the same of a person';

-- Stores what is known of a person. No row: there is no such person. Outcomes: stored; unchanged, where the
-- same was stored; older, where something that was fetched later was, which is returned.
CREATE FUNCTION people.f_put_intelligence(
    p_person_id uuid, p_profile jsonb, p_skills text[], p_experience jsonb, p_education jsonb,
    p_fetched_at timestamptz, p_ttl interval)
RETURNS TABLE (outcome text, intelligence people.intelligence)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_new people.intelligence;
BEGIN
    -- The person's row is the queue of all who store what is known of it.
    PERFORM 1 FROM people.master AS p WHERE p.id = p_person_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    SELECT i.* INTO intelligence
    FROM people.intelligence AS i
    WHERE i.person_id = p_person_id
    ORDER BY i.fetched_at DESC, i.id
    LIMIT 1
    FOR UPDATE;

    v_new := intelligence;
    v_new.linkedin_data := p_profile;
    v_new.skills := p_skills;
    v_new.experience := p_experience;
    v_new.education := p_education;
    v_new.fetched_at := coalesce(p_fetched_at, clock_timestamp());
    v_new.stale_at := v_new.fetched_at + p_ttl;
    IF people.f_same_intelligence(v_new, intelligence) THEN
        outcome := 'unchanged';
        RETURN NEXT;
        RETURN;
    ELSIF v_new.fetched_at < intelligence.fetched_at THEN
        -- What is expired is not served here either (law 14).
        outcome := CASE WHEN intelligence.stale_at > clock_timestamp() THEN 'older' ELSE 'older_than_stale' END;
        RETURN NEXT;
        RETURN;
    END IF;

    DELETE FROM people.intelligence AS i
    WHERE i.person_id = p_person_id AND i.id IS DISTINCT FROM intelligence.id;
    INSERT INTO people.intelligence AS i
        (id, person_id, linkedin_data, skills, experience, education, fetched_at, stale_at)
    VALUES (coalesce(v_new.id, gen_random_uuid()), p_person_id, v_new.linkedin_data, v_new.skills,
            v_new.experience, v_new.education, v_new.fetched_at, v_new.stale_at)
    ON CONFLICT (id) DO UPDATE
    SET linkedin_data = excluded.linkedin_data, skills = excluded.skills,
        experience = excluded.experience, education = excluded.education,
        fetched_at = excluded.fetched_at, stale_at = excluded.stale_at
    RETURNING i.* INTO STRICT intelligence;
    outcome := 'stored';
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION people.f_put_intelligence(uuid, jsonb, text[], jsonb, jsonb, timestamptz, interval) IS
    'Stores what is known of a person, unless something that was fetched later is stored';

GRANT EXECUTE ON FUNCTION people.f_put_intelligence TO leadvault_app;
