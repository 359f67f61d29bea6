//! Law 5, no side doors: only the functions write where every row must leave a trace.

use leadvault::{
    db::{APP_ROLE, DatabaseUrl, MONITOR_ROLE, Pool, PoolOptions},
    proto::intake::v1::GetRawLoadRequest,
};

use crate::harness::{App, Sql, fresh_database, refused, row};

/// The guarded tables of the reference, the histories, and our ledgers. The service has such a list, too; what it
/// forgets could not be found by it.
const GUARDED: [&str; 22] = [
    "intake.raw_loads",
    "intake.audit_log",
    "vault.contacts",
    "intake.batches",
    "intake.batch_lanes",
    "intake.batch_chunks",
    "intake.email_claims",
    "intake.rejected_rows",
    "intake.request_answers",
    "vault.suppressions",
    "company.history",
    "people.history",
    "company.slot_heads",
    "company.staged_contacts",
    "people.slot_heads",
    "people.staged_contacts",
    "ple.enrichment_queue",
    "marketing.campaigns",
    "marketing.campaign_history",
    "marketing.outreach_history",
    "marketing.engagement_events",
    "marketing.attribution",
];

const OUR_TABLES: &str = "
    SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('intake', 'vault', 'company', 'people', 'marketing', 'bit', 'ple')
      AND c.relkind IN ('r', 'p', 'v', 'm')";

const OUR_FUNCTIONS: &str = "
    SELECT p.oid, p.oid::regprocedure::text AS name, p.prosecdef, p.provolatile = 'v' AS writes,
           p.prorettype = 'trigger'::regtype AS is_trigger, p.proconfig,
           p.prosqlbody IS NOT NULL AS bound,
           has_function_privilege('leadvault_app', p.oid, 'EXECUTE') AS for_app
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('intake', 'vault', 'company', 'people', 'marketing', 'bit', 'ple')";

async fn tables(sql: &Sql) -> Vec<String> {
    let rows = sql.rows(OUR_TABLES, &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_the_service_writes_no_guarded_table_directly() {
    let app = App::start().await;
    app.ingest("b", "apollo", &[row("a@x.example"), "{}".to_owned()])
        .await;
    let sql = app.sql_as_app().await;
    for table in GUARDED {
        let column: String = sql
            .one(
                "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum = 1",
                &[&table],
            )
            .await;
        for statement in [
            format!("INSERT INTO {table} DEFAULT VALUES"),
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
        ] {
            let refusal = sql.refused(&statement).await;
            assert!(
                refusal.starts_with("permission denied for table"),
                "{statement}: {refusal}"
            );
        }
    }
    app.stop().await;
}

/// The second bolt: a GRANT by mistake still opens nothing.
#[tokio::test(flavor = "multi_thread")]
async fn law_5_row_level_security_holds_without_the_privileges() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    sql.run(&format!(
        "INSERT INTO intake.raw_loads (batch_id, source, raw_data) VALUES ('b', 'apollo', '{{}}');
         INSERT INTO vault.contacts (email, source) VALUES ('a@x.example', 'apollo');
         GRANT INSERT, UPDATE, DELETE ON intake.raw_loads, vault.contacts TO {APP_ROLE};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA intake, vault TO {APP_ROLE};
         SET ROLE {APP_ROLE}"
    ))
    .await;
    for insert in [
        "INSERT INTO intake.raw_loads (batch_id, source, raw_data) VALUES ('c', 'apollo', '{}')",
        "INSERT INTO vault.contacts (email, source) VALUES ('b@x.example', 'apollo')",
    ] {
        let refusal = sql.refused(insert).await;
        assert!(refusal.contains("row-level security"), "{refusal}");
    }
    for table in ["intake.raw_loads", "vault.contacts"] {
        let touched = [
            sql.touched(&format!("UPDATE {table} SET source = 'stolen'"))
                .await,
            sql.touched(&format!("DELETE FROM {table}")).await,
        ];
        assert_eq!(touched, [0, 0], "{table}");
        let seen: i64 = sql.one(&format!("SELECT count(*) FROM {table}"), &[]).await;
        assert_eq!(seen, 1, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_roles_read_every_table() {
    let url = fresh_database().await;
    for role in [APP_ROLE, MONITOR_ROLE] {
        let sql = Sql::connect(&url).await;
        let tables = tables(&sql).await;
        assert!(tables.len() >= 20, "{tables:?}");
        sql.run(&format!("SET ROLE {role}")).await;
        for table in tables {
            sql.run(&format!("SELECT * FROM {table} LIMIT 1")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_later_migration_is_read_by_both_roles() {
    let sql = Sql::connect(&fresh_database().await).await;
    sql.run("CREATE TABLE ple.later (id integer)").await;
    for role in [APP_ROLE, MONITOR_ROLE] {
        sql.run(&format!(
            "SET ROLE {role}; SELECT * FROM ple.later; RESET ROLE"
        ))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_can_do_nothing_but_select() {
    let sql = Sql::connect(&fresh_database().await).await;
    let rows = sql
        .rows(
            &format!(
                "SELECT format('%s on %s', p.privilege, t.name)
                 FROM ({OUR_TABLES}) AS t (name)
                 CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
                     AS p (privilege)
                 WHERE has_table_privilege('{MONITOR_ROLE}', t.name, p.privilege)
                 UNION ALL
                 SELECT 'EXECUTE on ' || f.name FROM ({OUR_FUNCTIONS}) AS f
                 WHERE has_function_privilege('{MONITOR_ROLE}', f.oid, 'EXECUTE')
                 UNION ALL
                 SELECT 'CREATE in ' || nspname FROM pg_namespace
                 WHERE has_schema_privilege('{MONITOR_ROLE}', oid, 'CREATE')"
            ),
            &[],
        )
        .await;
    let privileges: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(privileges, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_for_the_service_and_not_for_everyone() {
    let sql = Sql::connect(&fresh_database().await).await;
    let stranger: String = sql
        .one("SELECT current_database() || '_stranger'", &[])
        .await;
    sql.run(&format!("CREATE ROLE {stranger}")).await;
    let open = sql
        .rows(
            &format!(
                "SELECT f.name FROM ({OUR_FUNCTIONS}) AS f
                 WHERE has_function_privilege('{stranger}', f.oid, 'EXECUTE')"
            ),
            &[],
        )
        .await;
    let open: Vec<&str> = open.iter().map(|row| row.get(0)).collect();
    assert_eq!(open, Vec::<&str>::new());

    // Not even with the run of the schema.
    sql.run(&format!(
        "GRANT USAGE ON SCHEMA intake TO {stranger}; SET ROLE {stranger}"
    ))
    .await;
    let refusal = sql
        .refused("SELECT * FROM intake.f_ingest_json('{}', 'apollo', 'b')")
        .await;
    assert_eq!(refusal, "permission denied for function f_ingest_json");

    sql.run(&format!(
        "RESET ROLE; SET ROLE {APP_ROLE}; SELECT * FROM intake.f_ingest_json('{{}}', 'apollo', 'b')"
    ))
    .await;
    // Roles belong to the cluster: this one must not outlive its database.
    sql.run(&format!(
        "RESET ROLE; DROP OWNED BY {stranger}; DROP ROLE {stranger}"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_write_run_as_their_owner_with_a_pinned_search_path() {
    let sql = Sql::connect(&fresh_database().await).await;
    let functions = sql.rows(OUR_FUNCTIONS, &[]).await;
    assert!(functions.len() >= 10);
    for function in functions {
        let name: &str = function.get("name");
        // A body that was parsed when it was made looks no name up any more, and can be inlined.
        if function.get("bound") {
            continue;
        }
        let settings: Option<Vec<String>> = function.get("proconfig");
        let path = settings
            .unwrap_or_default()
            .into_iter()
            .find(|setting| setting.starts_with("search_path="));
        let (writes, is_trigger, for_app): (bool, bool, bool) = (
            function.get("writes"),
            function.get("is_trigger"),
            function.get("for_app"),
        );
        // What is not pinned can be inlined. It only reads, with the rights of its caller: whoever bends its
        // names deceives nobody else, and the functions that call it are pinned.
        let inlined = path.is_none() && !writes && !function.get::<_, bool>("prosecdef");
        assert!(
            inlined || path.as_deref() == Some("search_path=pg_catalog, pg_temp"),
            "{name}: {path:?}"
        );
        if writes && (for_app || is_trigger) {
            assert!(function.get::<_, bool>("prosecdef"), "{name}");
        }
    }
}

/// A caller's objects of the same name are not what the functions find.
#[tokio::test(flavor = "multi_thread")]
async fn a_callers_search_path_does_not_reach_into_the_functions() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    sql.run(&format!(
        "GRANT TEMPORARY ON DATABASE {} TO {APP_ROLE}; SET ROLE {APP_ROLE};
         CREATE FUNCTION pg_temp.cardinality(bigint[]) RETURNS integer LANGUAGE sql AS 'SELECT 1 / 0';
         CREATE FUNCTION pg_temp.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS 'SELECT (1 / 0)::text';
         SET search_path = pg_temp, pg_catalog",
        sql.one::<String>("SELECT current_database()::text", &[]).await
    ))
    .await;
    let rows = sql
        .rows(
            r#"SELECT status FROM intake.f_ingest_json(ARRAY['{"email":"a@x.example"}'::jsonb], 'apollo', 'b')"#,
            &[],
        )
        .await;
    assert_eq!(rows.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_acts_as_the_restricted_role_though_its_login_is_the_owner() {
    use diesel::{dsl::sql, select, sql_types::Text};
    use diesel_async::RunQueryDsl as _;

    let url = DatabaseUrl::parse(&fresh_database().await).unwrap();
    let pool = Pool::connect(PoolOptions::new(url)).await.unwrap();
    let mut connection = pool.get().await.unwrap();
    let who: String = select(sql::<Text>("current_user || ' of ' || session_user"))
        .get_result(&mut connection)
        .await
        .unwrap();
    assert_eq!(who, "leadvault_app of postgres");
    // What an application resets, stays.
    for reset in ["RESET ALL", "DISCARD ALL", "RESET ROLE"] {
        diesel::sql_query(reset)
            .execute(&mut connection)
            .await
            .unwrap();
        let who: String = select(sql::<Text>("current_user::text"))
            .get_result(&mut connection)
            .await
            .unwrap();
        assert_eq!(who, APP_ROLE, "after {reset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_service_has_no_more_rights_than_its_role() {
    let app = App::start().await;
    let loads = app.ingest_emails("b", "apollo", &["a@x.example"]).await;
    let request = GetRawLoadRequest { load_id: loads[0] };
    app.intake().await.get_raw_load(request).await.unwrap();

    let owner = app.sql().await;
    owner
        .run(&format!(
            "REVOKE SELECT ON intake.raw_loads FROM {APP_ROLE}"
        ))
        .await;
    let refusal = refused(app.intake().await.get_raw_load(request).await);
    assert_eq!(refusal.code, tonic::Code::Internal);
    assert_eq!(refusal.reason, "INTERNAL");
    app.stop().await;
}
