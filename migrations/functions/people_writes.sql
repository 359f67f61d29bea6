-- What people and services do to a person: update, enrich, archive.
--
-- Each function locks the person first and decides then, so that of two callers who read the same state one wins
-- and the other is told (law 7); what changes nothing writes nothing (law 8). The history is the triggers' doing.
-- None of them turns a status back (law 6).

-- Sets fields of a person that the caller holds: p_changes are texts by column, an empty one clears. An edit pins
-- what it sets, and unpins p_unpin; whose company is unpinned and empty gets that of its domains, as if it had just
-- arrived, for which the caller holds the lock of links. An enrichment pins nothing, leaves pinned fields alone, takes no empty value,
-- and sets enriched_at always.
CREATE FUNCTION people.f_write_person(
    p_old people.master, p_changes jsonb, p_unpin text[], p_enrichment boolean)
RETURNS people.master
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_fields CONSTANT text[] := ARRAY['name', 'first_name', 'last_name', 'title', 'company_id', 'linkedin_url',
                                      'phone', 'location', 'seniority', 'department'];
    v_values  jsonb;
    v_new     people.master;
    v_changed boolean;
BEGIN
    SELECT coalesce(jsonb_object_agg(c.key, nullif(btrim(c.value, E' \t\n\r'), '')), '{}')
    INTO STRICT v_values
    FROM jsonb_each_text(p_changes) AS c
    WHERE c.key = ANY (v_fields)
      AND NOT (p_enrichment
               AND (c.key = ANY (p_old.pinned_fields) OR coalesce(btrim(c.value, E' \t\n\r'), '') = ''));
    v_new := jsonb_populate_record(p_old, v_values);
    IF NOT p_enrichment THEN
        v_new.pinned_fields := ARRAY(
            SELECT f.field FROM unnest(v_fields) WITH ORDINALITY AS f (field, nth)
            WHERE (f.field = ANY (p_old.pinned_fields) OR v_values ? f.field) AND f.field <> ALL (p_unpin)
            ORDER BY f.nth);
        IF 'company_id' = ANY (p_unpin) AND v_new.company_id IS NULL
           AND 'company_id' <> ALL (v_new.pinned_fields) THEN
            v_new.company_id := people.f_company_of(v_new.company_domains);
        END IF;
    END IF;
    v_changed := people.f_image(v_new) <> people.f_image(p_old);
    IF NOT v_changed AND NOT p_enrichment THEN
        RETURN p_old;
    END IF;

    UPDATE people.master AS p
    SET name = v_new.name, first_name = v_new.first_name, last_name = v_new.last_name, title = v_new.title,
        company_id = v_new.company_id, linkedin_url = v_new.linkedin_url, phone = v_new.phone,
        location = v_new.location, seniority = v_new.seniority, department = v_new.department,
        pinned_fields = v_new.pinned_fields,
        updated_at = CASE WHEN v_changed THEN clock_timestamp() ELSE p.updated_at END,
        enriched_at = CASE WHEN p_enrichment THEN clock_timestamp() ELSE p.enriched_at END
    WHERE p.id = p_old.id
    RETURNING p.* INTO STRICT v_new;
    RETURN v_new;
END
$$;

COMMENT ON FUNCTION people.f_write_person(people.master, jsonb, text[], boolean) IS
    'Sets fields of a person that the caller holds, as an edit or as an enrichment';

-- Whether the company that changes name is there, and stays there until the transaction ends. Companies are
-- locked before people.
CREATE FUNCTION people.f_hold_company(p_changes jsonb)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_company_id uuid := nullif(p_changes ->> 'company_id', '');
BEGIN
    IF v_company_id IS NULL THEN
        RETURN true;
    END IF;
    PERFORM 1 FROM company.master AS c WHERE c.id = v_company_id FOR KEY SHARE;
    RETURN FOUND;
END
$$;

COMMENT ON FUNCTION people.f_hold_company(jsonb) IS 'Whether the company that changes of a person name is there';

-- Changes a person for somebody who read it. No row: there is none. With the outcomes etag_mismatch and
-- no_company nothing was done, and the person is as it is now.
CREATE FUNCTION people.f_update_person(
    p_person_id uuid, p_etag text, p_changes jsonb, p_unpin text[], p_enrichment boolean, p_actor text)
RETURNS TABLE (outcome text, person people.master)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_held boolean;
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    IF 'company_id' = ANY (p_unpin) THEN
        PERFORM pg_advisory_xact_lock_shared(company.f_link_lock());
    END IF;
    v_held := people.f_hold_company(p_changes);
    SELECT p.* INTO person FROM people.master AS p WHERE p.id = p_person_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF people.f_etag(person) IS DISTINCT FROM p_etag THEN
        outcome := 'etag_mismatch';
    ELSIF NOT v_held THEN
        outcome := 'no_company';
    ELSE
        outcome := 'updated';
        person := people.f_write_person(person, p_changes, p_unpin, p_enrichment);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION people.f_update_person(uuid, text, jsonb, text[], boolean, text) IS
    'Changes a person, as an edit or as an enrichment, unless it changed since the caller read it';

-- Changes a person by an enrichment that read no etag: what it found is new, whoever changed what meanwhile.
CREATE FUNCTION people.f_enrich_person(p_person_id uuid, p_changes jsonb, p_actor text)
RETURNS TABLE (outcome text, person people.master)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_held boolean := people.f_hold_company(p_changes);
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    SELECT p.* INTO person FROM people.master AS p WHERE p.id = p_person_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    outcome := 'no_company';
    IF v_held THEN
        outcome := 'updated';
        person := people.f_write_person(person, p_changes, '{}', true);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION people.f_enrich_person(uuid, jsonb, text) IS
    'Changes a person by an enrichment, whoever changed it meanwhile';

-- Sets a person to inactive. One who is suppressed or bounced keeps that status (law 6), and the archiving goes on
-- record for whoever lifts the suppression. Who was archived stays as it is, also against a stale etag: there is
-- nothing to lose, and a caller who repeats the call still holds the etag from before the first.
CREATE FUNCTION people.f_archive_person(p_person_id uuid, p_etag text, p_actor text)
RETURNS TABLE (outcome text, person people.master)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('leadvault.actor', p_actor, true);
    SELECT p.* INTO person FROM people.master AS p WHERE p.id = p_person_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF person.status <> 'active' AND vault.f_is_archived(p_person_id) THEN
        outcome := 'unchanged';
    ELSIF people.f_etag(person) IS DISTINCT FROM p_etag THEN
        outcome := 'etag_mismatch';
    ELSIF person.status <> 'active' THEN
        outcome := 'unchanged';
        INSERT INTO intake.audit_log (action, details, "timestamp")
        VALUES ('person_archived',
                jsonb_build_object('actor', p_actor, 'person_id', p_person_id, 'status', person.status),
                clock_timestamp());
    ELSE
        outcome := 'archived';
        UPDATE people.master AS p
        SET status = 'inactive', updated_at = clock_timestamp()
        WHERE p.id = p_person_id
        RETURNING p.* INTO STRICT person;
        INSERT INTO intake.audit_log (action, details, "timestamp")
        VALUES ('person_archived',
                jsonb_build_object('actor', p_actor, 'person_id', p_person_id,
                                   'old_values', jsonb_build_object('status', 'active'),
                                   'new_values', jsonb_build_object('status', 'inactive')),
                person.updated_at);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION people.f_archive_person(uuid, text, text) IS
    'Sets an active person to inactive, or records the archiving of one who is suppressed or bounced';

GRANT EXECUTE ON FUNCTION people.f_update_person, people.f_archive_person TO leadvault_app;
