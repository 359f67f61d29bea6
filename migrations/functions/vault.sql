-- What the functions of the vault share: the ledger's lock, and what a row says of a contact.
--
-- Locks are taken in one order: the ledger's advisory lock, raw loads by id, claims by email, contacts by
-- email. Who reads the ledger to decide a status takes its lock shared, who writes it takes it exclusive,
-- and the decision is read in a later statement than the lock: otherwise a contact could arrive active
-- while its suppression commits.

-- The one advisory lock of the ledger; the number says nothing, it only has to be the same everywhere.
CREATE FUNCTION vault.f_ledger_lock()
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 7305001001 $$;

COMMENT ON FUNCTION vault.f_ledger_lock() IS
    'The key of the advisory lock that orders suppressions against promotions and sends';

-- The status that the ledger implies for an address; NULL where no entry speaks of email.
CREATE FUNCTION vault.f_suppressed_status(p_email text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN bool_or(s.reason <> 'bounced') THEN 'unsubscribed'
                WHEN bool_or(s.reason = 'bounced') THEN 'bounced' END
    FROM vault.suppressions AS s
    WHERE s.email = p_email AND s.lifted_at IS NULL AND s.scope IN ('all', 'email')
$$;

COMMENT ON FUNCTION vault.f_suppressed_status(text) IS
    'The status that the ledger implies for an address: unsubscribed wins over bounced';

-- The tags of a row as a list of texts, each once, in their order: of an array its texts and numbers, of a
-- text the text itself.
CREATE FUNCTION vault.f_tags(p_tags jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(tag ORDER BY nth), '[]')
    FROM (SELECT btrim(t.tag #>> '{}') AS tag, min(t.nth) AS nth
          FROM jsonb_array_elements(
              CASE jsonb_typeof(p_tags) WHEN 'array' THEN p_tags
                                        WHEN 'string' THEN jsonb_build_array(p_tags)
                                        ELSE '[]' END) WITH ORDINALITY AS t (tag, nth)
          WHERE jsonb_typeof(t.tag) IN ('string', 'number')
          GROUP BY 1) AS tags
    WHERE tag <> ''
$$;

COMMENT ON FUNCTION vault.f_tags(jsonb) IS 'The tags of a row as a list of texts, each once';

-- Whether all tags of a row can be tags: texts and numbers. Of others, f_tags takes what it can.
CREATE FUNCTION vault.f_are_tags(p_tags jsonb)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(p_tags)
           WHEN 'array' THEN NOT jsonb_path_exists(
               p_tags, 'strict $[*] ? (@.type() != "string" && @.type() != "number" && @.type() != "null")')
           ELSE jsonb_typeof(p_tags) IN ('string', 'null') END;

COMMENT ON FUNCTION vault.f_are_tags(jsonb) IS 'Whether all tags of a row can be tags: texts and numbers';

-- What a row says beyond the fields of its own: every other key, and what stands under custom_fields. A
-- null or an empty text says nothing. A field whose value its column cannot hold stays here under its name.
CREATE FUNCTION vault.f_custom_fields(p_row jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_custom jsonb := p_row - ARRAY['email', 'name', 'phone', 'company', 'title', 'tags', 'custom_fields'];
    v_field  text;
BEGIN
    FOREACH v_field IN ARRAY ARRAY['name', 'phone', 'company', 'title'] LOOP
        IF jsonb_typeof(p_row -> v_field) IN ('object', 'array', 'boolean') THEN
            v_custom := v_custom || jsonb_build_object(v_field, p_row -> v_field);
        END IF;
    END LOOP;
    IF NOT vault.f_are_tags(p_row -> 'tags') THEN
        v_custom := v_custom || jsonb_build_object('tags', p_row -> 'tags');
    END IF;
    IF jsonb_typeof(p_row -> 'custom_fields') = 'object' THEN
        v_custom := v_custom || (p_row -> 'custom_fields');
    ELSIF p_row ? 'custom_fields' THEN
        v_custom := v_custom || jsonb_build_object('custom_fields', p_row -> 'custom_fields');
    END IF;
    SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') INTO STRICT v_custom
    FROM jsonb_each(v_custom) AS e
    WHERE e.value NOT IN ('null', '""');
    RETURN v_custom;
END
$$;

COMMENT ON FUNCTION vault.f_custom_fields(jsonb) IS
    'What a row says beyond name, phone, company, title and tags';

-- Whether f_custom_fields would find no more than the other keys of a row, as it mostly does: then taking
-- the row's own keys away is all there is to do, at a tenth of the cost. Looks a little too strictly.
CREATE FUNCTION vault.f_is_plain(p_row jsonb)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT (p_row ? 'custom_fields')
       AND NOT jsonb_path_exists(p_row, '$.* ? (@ == null || @ == "")')
       AND coalesce(jsonb_typeof(p_row -> 'name'), 'string') IN ('string', 'number')
       AND coalesce(jsonb_typeof(p_row -> 'phone'), 'string') IN ('string', 'number')
       AND coalesce(jsonb_typeof(p_row -> 'company'), 'string') IN ('string', 'number')
       AND coalesce(jsonb_typeof(p_row -> 'title'), 'string') IN ('string', 'number')
       AND CASE WHEN p_row ? 'tags' THEN vault.f_are_tags(p_row -> 'tags') ELSE true END;

COMMENT ON FUNCTION vault.f_is_plain(jsonb) IS
    'Whether the other keys of a row are all that it has for custom_fields';

-- The text of a row's field: of a text what is left without the blanks around it, of a number its digits.
CREATE FUNCTION vault.f_text_field(p_value jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(p_value) IN ('string', 'number')
            THEN nullif(btrim(p_value #>> '{}', E' \t\n\r'), '') END;

COMMENT ON FUNCTION vault.f_text_field(jsonb) IS 'The text of a row''s field; NULL where it says nothing';

-- What a row says of a contact. A name of which only one part is known is marked as such. Planned as a part
-- of the statement that calls it.
CREATE FUNCTION vault.f_row_fields(p_row jsonb)
RETURNS TABLE (name text, part_of_name boolean, phone text, company text, title text, tags jsonb,
               custom_fields jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(vault.f_text_field(p_row -> 'name'),
                    nullif(concat_ws(' ', vault.f_text_field(p_row -> 'first_name'),
                                          vault.f_text_field(p_row -> 'last_name')), '')),
           vault.f_text_field(p_row -> 'name') IS NULL
           AND (vault.f_text_field(p_row -> 'first_name') IS NULL
                OR vault.f_text_field(p_row -> 'last_name') IS NULL),
           vault.f_text_field(p_row -> 'phone'),
           vault.f_text_field(p_row -> 'company'),
           vault.f_text_field(p_row -> 'title'),
           CASE WHEN p_row ? 'tags' THEN vault.f_tags(p_row -> 'tags') ELSE '[]' END,
           CASE WHEN vault.f_is_plain(p_row)
                THEN p_row - ARRAY['email', 'name', 'phone', 'company', 'title', 'tags']
                ELSE vault.f_custom_fields(p_row) END;
END;

COMMENT ON FUNCTION vault.f_row_fields(jsonb) IS 'What a row says of a contact';

-- Whether a contact with these would be more than its API can carry: 1 MiB of custom fields, 1,000 tags. The
-- first look is at what is stored, which is seldom much smaller than its text and much cheaper to measure.
CREATE FUNCTION vault.f_is_too_large(p_custom_fields jsonb, p_tags jsonb)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN pg_column_size(p_custom_fields) > 8000
            THEN octet_length(p_custom_fields::text) > 1048576 ELSE false END
       OR CASE WHEN jsonb_typeof(p_tags) = 'array' THEN jsonb_array_length(p_tags) > 1000 ELSE false END;

COMMENT ON FUNCTION vault.f_is_too_large(jsonb, jsonb) IS
    'Whether a contact would have more than 1 MiB of custom fields or more than 1,000 tags';

-- The value of a text field after a merge.
CREATE FUNCTION vault.f_merged(p_stored text, p_incoming text, p_older boolean, p_pinned boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_pinned OR p_incoming IS NULL OR (p_older AND p_stored <> '') THEN p_stored
            ELSE p_incoming END;

COMMENT ON FUNCTION vault.f_merged(text, text, boolean, boolean) IS 'The value of a text field after a merge';

-- The keys of an object that another one lacks, or has with another value.
CREATE FUNCTION vault.f_differing(p_object jsonb, p_other jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}')
    -- Not a look-up a key, which would unpack the whole other object for each of thousands.
    FROM (SELECT * FROM jsonb_each(p_object) EXCEPT SELECT * FROM jsonb_each(p_other)) AS o (key, value)
$$;

COMMENT ON FUNCTION vault.f_differing(jsonb, jsonb) IS
    'The keys of an object that another one lacks, or has with another value';

-- Two images of a contact as old and new values of the fields that differ. Of custom_fields only the keys
-- that differ: a large contact would else be written down twice for each small change.
CREATE FUNCTION vault.f_changes(p_old jsonb, p_new jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'old_values', coalesce(jsonb_object_agg(n.key, CASE WHEN n.key = 'custom_fields'
            THEN vault.f_differing(p_old -> n.key, n.value) ELSE p_old -> n.key END), '{}'),
        'new_values', coalesce(jsonb_object_agg(n.key, CASE WHEN n.key = 'custom_fields'
            THEN vault.f_differing(n.value, p_old -> n.key) ELSE n.value END), '{}'))
    FROM jsonb_each(p_new) AS n
    WHERE n.value IS DISTINCT FROM p_old -> n.key
$$;

COMMENT ON FUNCTION vault.f_changes(jsonb, jsonb) IS
    'Two images of a contact as old and new values of what differs';

GRANT EXECUTE ON FUNCTION vault.f_ledger_lock, vault.f_suppressed_status TO leadvault_app;
