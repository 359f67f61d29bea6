//! What the migrating login must be able to do, asked before the first change: a migration that
//! fails halfway for want of a privilege names a table, not the privilege.

use tokio_postgres::Client;

use super::super::connect::quote_identifier;
use super::super::error::Error;
use super::super::{APP_ROLE, MONITOR_ROLE};
use super::layer::SCHEMAS;
use super::state::Database;

/// The oldest server, as `server_version_num` writes it.
const OLDEST: i32 = 150_000;

/// Refuses servers that the schema does not work with.
pub(super) async fn server_version(client: &Client) -> Result<(), Error> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
            &[],
        )
        .await
        .map_err(Error::query("asking for the server's version"))?;
    if row.get::<_, i32>(0) < OLDEST {
        return Err(Error::ServerTooOld { found: row.get(1) });
    }
    Ok(())
}

const QUESTIONS: &str = "
SELECT current_user::text,
       current_database()::text,
       has_database_privilege(current_database(), 'CREATE'),
       has_schema_privilege('public', 'CREATE'),
       (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user),
       (SELECT count(*) FROM pg_roles WHERE rolname = ANY($1)),
       (SELECT string_agg(nspname, ', ' ORDER BY nspname) FROM pg_namespace
         WHERE nspname = ANY($2) AND NOT pg_has_role(nspowner, 'USAGE')),
       (SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace
           AND c.relname IN ('__diesel_schema_migrations', 'leadvault_function_layer')
           AND NOT pg_has_role(c.relowner, 'USAGE'))";

/// Checks what can be known beforehand.
pub(super) async fn check(client: &Client, database: &Database) -> Result<(), Error> {
    let roles: Vec<&str> = vec![APP_ROLE, MONITOR_ROLE];
    let schemas: Vec<&str> = SCHEMAS.to_vec();
    let row = client
        .query_one(QUESTIONS, &[&roles, &schemas])
        .await
        .map_err(Error::query("asking for the login's privileges"))?;
    let login: String = row.get(0);
    let (who, db) = (quote_identifier(&login), quote_identifier(row.get(1)));
    let is_first = database.applied().is_empty();
    let lacks = |missing: String, fix: String| {
        Err(Error::MissingPrivilege {
            login: login.clone(),
            missing,
            fix,
        })
    };
    if let Some(schemas) = row.get::<_, Option<String>>(6) {
        return lacks(
            format!("it does not own the schemas {schemas}"),
            "migrate as their owner, or as a superuser run REASSIGN OWNED BY the old owner"
                .to_owned(),
        );
    }
    if let Some(tables) = row.get::<_, Option<String>>(7) {
        return lacks(
            format!("it does not own {tables}"),
            "migrate as the login that migrated first".to_owned(),
        );
    }
    if is_first && !row.get::<_, bool>(2) {
        return lacks(
            format!("CREATE on database {db}"),
            format!("as its owner run GRANT CREATE ON DATABASE {db} TO {who}"),
        );
    }
    if is_first && !row.get::<_, bool>(3) {
        return lacks(
            "CREATE on schema public (for the list of migrations)".to_owned(),
            format!("as the database's owner run GRANT CREATE ON SCHEMA public TO {who}"),
        );
    }
    if is_first && row.get::<_, i64>(5) < 2 && !row.get::<_, bool>(4) {
        return lacks(
            format!("CREATEROLE (the roles {APP_ROLE} and {MONITOR_ROLE} do not exist yet)"),
            format!(
                "as an administrator run ALTER ROLE {who} CREATEROLE, or make the roles: \
                 CREATE ROLE {APP_ROLE}; CREATE ROLE {MONITOR_ROLE}; GRANT {APP_ROLE} TO {who}"
            ),
        );
    }
    Ok(())
}
