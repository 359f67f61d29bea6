-- Two group roles. They belong to the cluster, not to this database: another database's migration may
-- create them at the same moment, and the down migration leaves them alone.
DO $$
DECLARE
    v_role    text;
    v_comment text;
BEGIN
    FOR v_role, v_comment IN VALUES
        ('leadvault_app',
         'The leadvault service: reads everything, writes the guarded tables through functions only'),
        ('leadvault_monitor',
         'Monitoring of leadvault: reads everything, writes nothing')
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
                EXECUTE format('COMMENT ON ROLE %I IS %L', v_role, v_comment);
            EXCEPTION
                -- duplicate_object when the other migration has committed, unique_violation when it
                -- commits while we wait.
                WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END
$$;

-- The service acts as leadvault_app also when its login is this owner. Since PostgreSQL 16 creating a role
-- no longer implies the right to become it; a superuser has that right anyway. Trying is the only test
-- that reads the same on every version.
DO $$
BEGIN
    SET LOCAL ROLE leadvault_app;
    RESET ROLE;
EXCEPTION
    WHEN insufficient_privilege THEN
        BEGIN
            EXECUTE format('GRANT leadvault_app TO %I', current_user);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role % may neither become leadvault_app nor grant it to itself',
                    current_user
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = format('as a superuser: GRANT leadvault_app TO %I', current_user);
        END;
END
$$;
