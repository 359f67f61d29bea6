//! Who may migrate, and who may serve. No superuser is needed, and what is missing is named.

use leadvault::db::{DatabaseUrl, Pool, PoolOptions, migrate};
use leadvault::proto::intake::v1::GetBatchRequest;

use super::parsed;
use crate::harness::{App, Sql, empty_database, fresh_database, private_cluster, row, url_as};

/// Makes a login for this test alone: roles belong to the cluster.
async fn login(sql: &Sql, suffix: &str, options: &str) -> String {
    let database: String = sql.one("SELECT current_database()::text", &[]).await;
    let name = format!("{database}_{suffix}");
    sql.run(&format!("CREATE ROLE {name} LOGIN {options}"))
        .await;
    name
}

/// A database, and a login that owns nothing.
async fn with_login(address: String, suffix: &str, options: &str) -> (String, Sql, String) {
    let sql = Sql::connect(&address).await;
    let login = login(&sql, suffix, options).await;
    (address, sql, login)
}

async fn own(sql: &Sql, login: &str) {
    let database: String = sql.one("SELECT current_database()::text", &[]).await;
    sql.run(&format!("ALTER DATABASE {database} OWNER TO {login}"))
        .await;
}

/// What `migrate::up` says, having touched nothing.
async fn refusal(address: &str, login: &str, sql: &Sql) -> String {
    let error = migrate::up(&parsed(&url_as(address, login)))
        .await
        .unwrap_err();
    let left: i64 = sql
        .one(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace",
            &[],
        )
        .await;
    assert_eq!(left, 0, "a refusal comes before the first change");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_create_on_the_database_the_privilege_is_named() {
    let (address, sql, login) = with_login(empty_database().await, "stranger", "").await;
    let refusal = refusal(&address, &login, &sql).await;
    assert!(refusal.contains("CREATE on database"), "{refusal}");
    assert!(refusal.contains("GRANT CREATE ON DATABASE"), "{refusal}");
    assert!(refusal.contains(&login), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_create_on_public_the_privilege_is_named() {
    let (address, sql, login) = with_login(empty_database().await, "stranger", "").await;
    let database: String = sql.one("SELECT current_database()::text", &[]).await;
    sql.run(&format!("GRANT CREATE ON DATABASE {database} TO {login}"))
        .await;
    let refusal = refusal(&address, &login, &sql).await;
    assert!(
        refusal.contains("GRANT CREATE ON SCHEMA public"),
        "{refusal}"
    );
}

/// The roles exist, since another database of the cluster has them, and its administrator owns them.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_may_not_become_the_services_role_is_told_the_grant() {
    let (address, sql, login) = with_login(empty_database().await, "owner", "").await;
    own(&sql, &login).await;
    let error = migrate::up(&parsed(&url_as(&address, &login)))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("20261122000100_create_roles"), "{error}");
    assert!(error.contains("GRANT leadvault_app TO"), "{error}");
    // As told:
    sql.run(&format!("GRANT leadvault_app TO {login}")).await;
    migrate::up(&parsed(&url_as(&address, &login)))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_new_cluster_an_owner_without_createrole_is_told_so() {
    let cluster = private_cluster().await;
    let sql = Sql::connect(&cluster.url()).await;
    sql.run("CREATE ROLE owner LOGIN; ALTER DATABASE leadvault OWNER TO owner")
        .await;
    let refusal = refusal(&cluster.url(), "owner", &sql).await;
    assert!(refusal.contains("CREATEROLE"), "{refusal}");
    assert!(refusal.contains("CREATE ROLE leadvault_app"), "{refusal}");

    // With the roles made for it, as it was told, it needs no CREATEROLE.
    sql.run(
        "CREATE ROLE leadvault_app; CREATE ROLE leadvault_monitor; GRANT leadvault_app TO owner",
    )
    .await;
    let url = url_as(&cluster.url(), "owner");
    migrate::up(&parsed(&url)).await.unwrap();
    serve(url).await;
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_new_cluster_an_owner_who_is_no_superuser_migrates_and_serves() {
    let cluster = private_cluster().await;
    let sql = Sql::connect(&cluster.url()).await;
    sql.run("CREATE ROLE owner LOGIN CREATEROLE; ALTER DATABASE leadvault OWNER TO owner")
        .await;
    let url = url_as(&cluster.url(), "owner");
    migrate::up(&parsed(&url)).await.unwrap();
    serve(url.clone()).await;
    migrate::down(&parsed(&url), usize::MAX).await.unwrap();
    migrate::up(&parsed(&url)).await.unwrap();
    cluster.stop().await.unwrap();
}

/// Rows go in and come out.
async fn serve(url: String) {
    migrate::verify_role(&parsed(&url)).await.unwrap();
    let app = App::start_on(url, &[]).await;
    app.ingest("b", "apollo", &[row("a@x.example"), "{}".to_owned()])
        .await;
    let request = GetBatchRequest {
        batch_id: "b".into(),
    };
    let response = app
        .intake()
        .await
        .get_batch(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.batch.unwrap().tally.unwrap().received, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_only_a_member_of_the_services_role_serves() {
    let (address, _, login) =
        with_login(fresh_database().await, "service", "IN ROLE leadvault_app").await;
    let url = url_as(&address, &login);
    migrate::check(&parsed(&url)).await.unwrap();
    serve(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_act_as_the_services_role_is_refused_with_the_grant() {
    let (address, _, login) = with_login(fresh_database().await, "stranger", "").await;
    let url = parsed(&url_as(&address, &login));
    let errors = [
        Pool::connect(PoolOptions::new(url.clone()))
            .await
            .unwrap_err(),
        migrate::verify_role(&url).await.unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(
            text.contains(&format!("GRANT leadvault_app TO {login}")),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_own_the_schemas_is_told_so_before_anything_changes() {
    let (address, sql, login) =
        with_login(fresh_database().await, "stranger", "IN ROLE leadvault_app").await;
    sql.run("UPDATE public.leadvault_function_layer SET fingerprint = 'of another text'")
        .await;
    let url: DatabaseUrl = parsed(&url_as(&address, &login));
    let error = migrate::up(&url).await.unwrap_err().to_string();
    assert!(error.contains("does not own the schemas"), "{error}");
}
