-- What people and services do to contacts: update, delete, score.
--
-- Each function locks its contacts first and decides then, so that of two callers who read the same state
-- one wins and the other is told (law 7); what changes nothing writes nothing (law 8); what changes writes
-- its audit row here (law 9). None of them turns a status back (law 6).

-- The fingerprint of a contact. Also its times, so that a value which changed and changed back is noticed.
-- Without that of the last activity: a message that is opened must not stop whoever is editing the contact. Every
-- read of a contact pays for it, so that it hashes the values as they are: their text took as long as the rest of
-- a look-up by key.
CREATE FUNCTION vault.f_etag(p_contact vault.contacts)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN lpad(to_hex(hash_record_extended(ROW(
    p_contact.contact_id, p_contact.email, p_contact.name, p_contact.phone, p_contact.company,
    p_contact.title, p_contact.source, p_contact.tags, p_contact.custom_fields, p_contact.load_id,
    p_contact.created_at, p_contact.updated_at, p_contact.score, p_contact.status,
    p_contact.pinned_fields), 0)), 16, '0');

COMMENT ON FUNCTION vault.f_etag(vault.contacts) IS 'The fingerprint of a contact''s content';

-- The fields that a person can change, and their pins, as the audit log shows them.
CREATE FUNCTION vault.f_editable(p_contact vault.contacts)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
    'name', p_contact.name, 'phone', p_contact.phone, 'company', p_contact.company,
    'title', p_contact.title, 'tags', p_contact.tags, 'custom_fields', p_contact.custom_fields,
    'pinned_fields', p_contact.pinned_fields);

COMMENT ON FUNCTION vault.f_editable(vault.contacts) IS
    'The fields of a contact that a person can change, and their pins';

-- Sets the fields that p_changes names, pins them, and unpins those of p_unpin. No row: there is no such
-- contact. With outcome etag_mismatch nothing was done, and the contact is as it is now.
CREATE FUNCTION vault.f_update_contact(
    p_contact_id bigint, p_etag text, p_changes jsonb, p_unpin text[], p_actor text)
RETURNS TABLE (outcome text, contact vault.contacts)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_fields CONSTANT text[] := ARRAY['name', 'phone', 'company', 'title', 'tags', 'custom_fields'];
    v_old    vault.contacts;
    v_new    vault.contacts;
BEGIN
    SELECT c.* INTO v_old FROM vault.contacts AS c WHERE c.contact_id = p_contact_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    contact := v_old;
    IF vault.f_etag(v_old) IS DISTINCT FROM p_etag THEN
        outcome := 'etag_mismatch';
        RETURN NEXT;
        RETURN;
    END IF;

    v_new := v_old;
    v_new.name := CASE WHEN p_changes ? 'name' THEN vault.f_text_field(p_changes -> 'name')
                       ELSE v_old.name END;
    v_new.phone := CASE WHEN p_changes ? 'phone' THEN vault.f_text_field(p_changes -> 'phone')
                        ELSE v_old.phone END;
    v_new.company := CASE WHEN p_changes ? 'company' THEN vault.f_text_field(p_changes -> 'company')
                          ELSE v_old.company END;
    v_new.title := CASE WHEN p_changes ? 'title' THEN vault.f_text_field(p_changes -> 'title')
                        ELSE v_old.title END;
    v_new.tags := CASE WHEN p_changes ? 'tags' THEN vault.f_tags(p_changes -> 'tags') ELSE v_old.tags END;
    v_new.custom_fields := coalesce(p_changes -> 'custom_fields', v_old.custom_fields);
    v_new.pinned_fields := ARRAY(
        SELECT f.field FROM unnest(v_fields) WITH ORDINALITY AS f (field, nth)
        WHERE (f.field = ANY (v_old.pinned_fields) OR p_changes ? f.field) AND f.field <> ALL (p_unpin)
        ORDER BY f.nth);

    -- The images are compared as their text: 1 and 1.0 are equal as jsonb, and a person may mean either.
    IF vault.f_editable(v_new)::text = vault.f_editable(v_old)::text THEN
        outcome := 'unchanged';
        RETURN NEXT;
        RETURN;
    END IF;
    UPDATE vault.contacts AS c
    SET name = v_new.name, phone = v_new.phone, company = v_new.company, title = v_new.title,
        tags = v_new.tags, custom_fields = v_new.custom_fields, pinned_fields = v_new.pinned_fields,
        updated_at = clock_timestamp()
    WHERE c.contact_id = p_contact_id
    RETURNING c.* INTO STRICT v_new;
    INSERT INTO intake.audit_log (action, contact_id, details, "timestamp")
    VALUES ('contact_updated', p_contact_id,
            jsonb_build_object('actor', p_actor)
            || vault.f_changes(vault.f_editable(v_old), vault.f_editable(v_new)),
            v_new.updated_at);
    outcome := 'updated';
    contact := v_new;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION vault.f_update_contact(bigint, text, jsonb, text[], text) IS
    'Changes and pins fields of a contact, unless it changed since the caller read it';

-- Whether a contact was deleted, also where its status says that it unsubscribed or bounces: a deletion is on
-- record, and nothing since shows the contact as active.
CREATE FUNCTION vault.f_is_deleted(p_contact_id bigint)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT a.action = 'contact_deleted'
         FROM intake.audit_log AS a
         WHERE a.contact_id = p_contact_id
           AND (a.action = 'contact_deleted'
                OR 'active' IN (a.details #>> '{old_values,status}', a.details #>> '{new_values,status}'))
         ORDER BY a.log_id DESC
         LIMIT 1),
        false)
$$;

COMMENT ON FUNCTION vault.f_is_deleted(bigint) IS
    'Whether a contact was deleted, also where its status says that it unsubscribed or bounces';

-- Whether a contact of a status is deleted; the trail is read only where the status does not say so.
CREATE FUNCTION vault.f_is_gone(p_contact_id bigint, p_status text)
RETURNS boolean
LANGUAGE sql STABLE
RETURN CASE p_status WHEN 'active' THEN false WHEN 'inactive' THEN true
                     ELSE vault.f_is_deleted(p_contact_id) END;

COMMENT ON FUNCTION vault.f_is_gone(bigint, text) IS 'Whether a contact is deleted, by its status or on record';

-- Sets a contact to inactive. Who unsubscribed or bounced keeps that status (law 6), and the deletion goes on
-- record for whoever lifts the suppression: consent outlives deletion, and deletion outlives consent. What
-- was deleted stays as it is, also against a stale etag: there is nothing to lose, and a caller who repeats
-- the call holds the etag from before the first.
CREATE FUNCTION vault.f_delete_contact(p_contact_id bigint, p_etag text, p_actor text)
RETURNS TABLE (outcome text, contact vault.contacts)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT c.* INTO contact FROM vault.contacts AS c WHERE c.contact_id = p_contact_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF vault.f_is_gone(p_contact_id, contact.status) THEN
        outcome := 'unchanged';
    ELSIF vault.f_etag(contact) IS DISTINCT FROM p_etag THEN
        outcome := 'etag_mismatch';
    ELSIF contact.status <> 'active' THEN
        INSERT INTO intake.audit_log (action, contact_id, details, "timestamp")
        VALUES ('contact_deleted', p_contact_id,
                jsonb_build_object('actor', p_actor, 'status', contact.status), clock_timestamp());
        outcome := 'unchanged';
    ELSE
        UPDATE vault.contacts AS c
        SET status = 'inactive', updated_at = clock_timestamp()
        WHERE c.contact_id = p_contact_id
        RETURNING c.* INTO STRICT contact;
        INSERT INTO intake.audit_log (action, contact_id, details, "timestamp")
        VALUES ('contact_deleted', p_contact_id,
                jsonb_build_object('actor', p_actor,
                                   'old_values', jsonb_build_object('status', 'active'),
                                   'new_values', jsonb_build_object('status', 'inactive')),
                contact.updated_at);
        outcome := 'deleted';
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION vault.f_delete_contact(bigint, text, text) IS
    'Sets an active contact to inactive, or records the deletion of one that unsubscribed or bounced';

-- Sets the scores of contacts, each named once; one outcome each, in order.
CREATE FUNCTION vault.f_score_contacts(
    p_contact_ids bigint[], p_scores numeric[], p_reasons text[], p_actor text)
RETURNS TABLE (outcome text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As marketing.f_record_outreach: a plan that was made while there was little would read all there is for each call.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
    -- In the order of all writers of contacts, so that two of them queue up instead of deadlocking.
    PERFORM 1
    FROM vault.contacts AS c
    WHERE c.contact_id = ANY (p_contact_ids)
    ORDER BY c.email
    FOR UPDATE;

    RETURN QUERY
    WITH sent AS (
        SELECT s.contact_id, s.score, s.reason, s.nth, c.score AS old_score
        FROM unnest(p_contact_ids, p_scores, p_reasons) WITH ORDINALITY AS s (contact_id, score, reason, nth)
        LEFT JOIN vault.contacts AS c ON c.contact_id = s.contact_id
    ), scored AS (
        UPDATE vault.contacts AS c
        SET score = s.score, updated_at = clock_timestamp()
        FROM sent AS s
        WHERE c.contact_id = s.contact_id AND c.score <> s.score
        RETURNING c.contact_id, s.old_score, c.score, s.reason, c.updated_at
    ), audited AS (
        INSERT INTO intake.audit_log (action, contact_id, details, "timestamp")
        SELECT 'contact_updated', contact_id,
               jsonb_build_object('actor', p_actor, 'reason', reason,
                                  'old_values', jsonb_build_object('score', old_score),
                                  'new_values', jsonb_build_object('score', score)),
               updated_at
        FROM scored
        ORDER BY contact_id
    )
    SELECT CASE WHEN s.old_score IS NULL THEN 'not_found'
                WHEN s.old_score = s.score THEN 'unchanged'
                ELSE 'scored' END
    FROM sent AS s
    ORDER BY s.nth;
END
$$;

COMMENT ON FUNCTION vault.f_score_contacts(bigint[], numeric[], text[], text) IS
    'Sets the scores of contacts, with the reasons for the audit trail; one outcome each';

GRANT EXECUTE ON FUNCTION
    vault.f_etag, vault.f_is_deleted, vault.f_is_gone, vault.f_update_contact, vault.f_delete_contact,
    vault.f_score_contacts
    TO leadvault_app;
