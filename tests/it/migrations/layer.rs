//! The function layer, and binaries of another age.

use leadvault::db::migrate::{self, LAYER_VERSION, LayerChange, LayerState, MigrationState};

use super::{fingerprint, parsed};
use crate::harness::{App, Sql, fresh_database, row};

const TAMPER: &str = "
    CREATE OR REPLACE FUNCTION intake.f_normalize_email(p_email text, OUT email text, OUT detail text)
    LANGUAGE sql AS $$ SELECT 'tampered', NULL $$";

async fn normalized(sql: &Sql) -> Option<String> {
    sql.one(
        "SELECT email FROM intake.f_normalize_email('A@x.example')",
        &[],
    )
    .await
}

/// A database whose functions are those of another text.
async fn tampered() -> (String, Sql) {
    let address = fresh_database().await;
    let sql = Sql::connect(&address).await;
    sql.run(TAMPER).await;
    sql.run("UPDATE public.leadvault_function_layer SET fingerprint = 'of another text'")
        .await;
    assert_eq!(normalized(&sql).await.as_deref(), Some("tampered"));
    (address, sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_another_text_is_rebuilt() {
    let whole = fingerprint(&Sql::connect(&fresh_database().await).await).await;
    let (address, sql) = tampered().await;
    let url = parsed(&address);
    assert_eq!(
        migrate::status(&url).await.unwrap().layer,
        LayerState::Changed
    );
    let refusal = migrate::check(&url).await.unwrap_err().to_string();
    assert!(refusal.contains("function layer is changed"), "{refusal}");

    let report = migrate::up(&url).await.unwrap();
    assert_eq!(report.layer, LayerChange::Rebuilt);
    assert_eq!(report.applied, Vec::<String>::new());
    assert_eq!(normalized(&sql).await.as_deref(), Some("a@x.example"));
    assert_eq!(fingerprint(&sql).await, whole);
    migrate::check(&url).await.unwrap();
}

/// A function whose result has other columns cannot be replaced, only dropped and made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_with_other_columns_is_rebuilt_too() {
    let address = fresh_database().await;
    let sql = Sql::connect(&address).await;
    sql.run(
        "DROP FUNCTION intake.f_ingest_json;
         CREATE FUNCTION intake.f_ingest_json(p_rows jsonb[], p_source text, p_batch_id text)
         RETURNS TABLE (load_id integer) LANGUAGE sql AS 'SELECT 1';
         UPDATE public.leadvault_function_layer SET fingerprint = 'of another text'",
    )
    .await;
    migrate::up(&parsed(&address)).await.unwrap();
    let rows = sql
        .rows(
            "SELECT load_id, status, message FROM intake.f_ingest_json('{}', 'apollo', 'b')",
            &[],
        )
        .await;
    assert_eq!(rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_view_stops_a_rebuild_and_is_named() {
    let (address, sql) = tampered().await;
    sql.run(
        "CREATE VIEW public.of_a_user AS SELECT n.email FROM intake.f_normalize_email('A@x.example') AS n",
    )
    .await;
    let refusal = migrate::up(&parsed(&address))
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("of_a_user"), "{refusal}");
    assert!(!refusal.to_lowercase().contains("cascade"), "{refusal}");
    // Nothing changed.
    assert_eq!(normalized(&sql).await.as_deref(), Some("tampered"));

    sql.run("DROP VIEW public.of_a_user").await;
    migrate::up(&parsed(&address)).await.unwrap();
    assert_eq!(normalized(&sql).await.as_deref(), Some("a@x.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_others_in_our_schemas_survive_a_rebuild() {
    let (address, sql) = tampered().await;
    sql.run("CREATE FUNCTION intake.of_a_user() RETURNS integer LANGUAGE sql AS 'SELECT 7'")
        .await;
    migrate::up(&parsed(&address)).await.unwrap();
    let seven: i32 = sql.one("SELECT intake.of_a_user()", &[]).await;
    assert_eq!(seven, 7);
}

/// What a newer release leaves behind: a higher layer version, and who can still work with it.
async fn migrated_by_a_newer_release(compatible_from: i32) -> (String, Sql) {
    let (address, sql) = tampered().await;
    sql.run(&format!(
        "UPDATE public.leadvault_function_layer
         SET layer_version = {}, compatible_from = {compatible_from}",
        LAYER_VERSION + 1
    ))
    .await;
    (address, sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_binary_leaves_a_newer_layer_alone_and_serves() {
    let (address, sql) = migrated_by_a_newer_release(LAYER_VERSION).await;
    let url = parsed(&address);
    let before = fingerprint(&sql).await;
    let report = migrate::up(&url).await.unwrap();
    assert!(report.database_is_newer);
    assert_eq!(report.layer, LayerChange::Unchanged);
    assert_eq!(fingerprint(&sql).await, before);
    assert_eq!(
        migrate::status(&url).await.unwrap().layer,
        LayerState::Newer
    );
    migrate::check(&url).await.unwrap();
    let app = App::start_on(address, &[]).await;
    app.ingest("b", "apollo", &[row("a@x.example")]).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_binary_refuses_a_database_that_it_cannot_work_with() {
    let (address, sql) = migrated_by_a_newer_release(LAYER_VERSION + 1).await;
    let url = parsed(&address);
    let before = fingerprint(&sql).await;
    for refusal in [
        migrate::up(&url).await.unwrap_err(),
        migrate::check(&url).await.unwrap_err(),
    ] {
        let text = refusal.to_string();
        assert!(text.contains("too old for the database"), "{text}");
        assert!(
            text.contains(&format!("layer version {}", LAYER_VERSION + 1)),
            "{text}"
        );
    }
    assert_eq!(fingerprint(&sql).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_binary_never_reverts_what_it_does_not_know() {
    let (address, sql) = migrated_by_a_newer_release(LAYER_VERSION).await;
    let before = fingerprint(&sql).await;
    migrate::down(&parsed(&address), 1).await.unwrap_err();
    assert_eq!(fingerprint(&sql).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_of_a_newer_release_is_shown_and_left_alone() {
    let address = fresh_database().await;
    let (url, sql) = (parsed(&address), Sql::connect(&address).await);
    sql.run("INSERT INTO public.__diesel_schema_migrations (version) VALUES ('99990101000000')")
        .await;
    let status = migrate::status(&url).await.unwrap();
    let last = status.migrations.last().unwrap();
    assert_eq!(
        (last.version.as_str(), last.state),
        ("99990101000000", MigrationState::Unknown)
    );
    assert!(migrate::up(&url).await.unwrap().database_is_newer);
    migrate::down(&url, 1).await.unwrap_err();
}
