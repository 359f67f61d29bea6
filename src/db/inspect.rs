//! What can be said of a database without changing it, for whoever looks for what is wrong.

use std::{path::PathBuf, time::SystemTime};

use tokio_postgres::Client;

use super::{APP_ROLE, DatabaseUrl, Error, migrate};

/// The tables that only functions write: law 5's, the histories, and the ledgers.
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

/// Those of them that row level security guards, too.
const WITH_ROW_SECURITY: [&str; 2] = ["intake.raw_loads", "vault.contacts"];

const SERVER: &str = "
    SELECT current_setting('server_version') AS version, session_user::text AS login,
           current_setting('transaction_read_only')::bool AS is_read_only, pg_is_in_recovery() AS is_standby,
           least(
               current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
               (SELECT nullif(r.rolconnlimit, -1) FROM pg_roles AS r WHERE r.rolname = session_user),
               (SELECT nullif(d.datconnlimit, -1) FROM pg_database AS d WHERE d.datname = current_database())
           ) AS connections";

const ROLE: &str = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = $1";

const WRITES: &str = "
    SELECT p.privilege || ' ON ' || t.name
    FROM unnest($2::text[]) WITH ORDINALITY AS t (name, place)
    CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) WITH ORDINALITY AS p (privilege, place)
    WHERE CASE WHEN to_regclass(t.name) IS NULL THEN false
               WHEN p.privilege IN ('INSERT', 'UPDATE')
                   THEN has_any_column_privilege($1::text, t.name, p.privilege)
               ELSE has_table_privilege($1::text, t.name, p.privilege) END
    ORDER BY t.place, p.place";

const UNREADABLE: &str = "
    SELECT c.oid::regclass::text
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('intake', 'vault', 'company', 'people', 'marketing', 'bit', 'ple')
      AND c.relkind IN ('r', 'p', 'v', 'm')
      AND NOT (has_table_privilege($1::text, c.oid, 'SELECT') AND has_schema_privilege($1::text, n.oid, 'USAGE'))
    ORDER BY 1";

const WITHOUT_ROW_SECURITY: &str = "
    SELECT t.name
    FROM unnest($1::text[]) AS t (name)
    JOIN pg_class AS c ON c.oid = to_regclass(t.name)
    WHERE NOT c.relrowsecurity";

const OPEN_FUNCTIONS: &str = "
    SELECT p.oid::regprocedure::text
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('intake', 'vault', 'company', 'people', 'marketing', 'bit', 'ple')
      AND has_function_privilege('public', p.oid, 'EXECUTE')
    ORDER BY 1";

/// A server and who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// The login.
    pub login: String,
    /// It takes no writes.
    pub is_read_only: bool,
    /// It is a standby, which takes none until it is promoted.
    pub is_standby: bool,
    /// How many connections the login may have on it at the most.
    pub connections: i32,
}

/// What the service's role may do that it must not, and may not that it must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileges {
    /// It is a superuser, or passes row level security.
    pub passes_everything: bool,
    /// Direct writes where only functions write, such as `INSERT ON intake.raw_loads`.
    pub writes: Vec<String>,
    /// Tables and views that it cannot read.
    pub unreadable: Vec<String>,
    /// Tables whose row level security is off.
    pub without_row_security: Vec<String>,
    /// Functions that everybody may execute.
    pub open_functions: Vec<String>,
}

/// Looks at a database.
pub struct Inspector(Client);

impl Inspector {
    /// Connects to a server that the schema works with.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::ServerTooOld`].
    pub async fn connect(url: &DatabaseUrl) -> Result<Self, Error> {
        Ok(Self(migrate::client(url).await?))
    }

    /// The server and the login.
    ///
    /// # Errors
    /// [`Error::Query`].
    pub async fn server(&self) -> Result<Server, Error> {
        let row = self.0.query_one(SERVER, &[]).await;
        let row = row.map_err(Error::query("asking for the server's settings"))?;
        Ok(Server {
            version: row.get("version"),
            login: row.get("login"),
            is_read_only: row.get("is_read_only"),
            is_standby: row.get("is_standby"),
            connections: row.get("connections"),
        })
    }

    /// By how many seconds the database's clock is ahead of this machine's, and how sure that is.
    ///
    /// # Errors
    /// [`Error::Query`].
    pub async fn clock(&self) -> Result<(f64, f64), Error> {
        let statement = "SELECT extract(epoch FROM clock_timestamp())::double precision";
        let prepared = self.0.prepare(statement).await;
        let prepared = prepared.map_err(Error::query("asking for the time"))?;
        let before = seconds_since_1970();
        let row = self.0.query_one(&prepared, &[]).await;
        let after = seconds_since_1970();
        let there: f64 = row.map_err(Error::query("asking for the time"))?.get(0);
        let half = (after - before) / 2.0;
        Ok((there - (before + half), half))
    }

    /// What the service's role may do.
    ///
    /// # Errors
    /// [`Error::RoleMissing`], [`Error::Query`].
    pub async fn privileges(&self) -> Result<Privileges, Error> {
        let role = self.0.query_opt(ROLE, &[&APP_ROLE]).await;
        let role = role.map_err(Error::query("asking for the service's role"))?;
        let role = role.ok_or_else(|| Error::RoleMissing {
            role: APP_ROLE.to_owned(),
        })?;
        let (guarded, secured) = (GUARDED.to_vec(), WITH_ROW_SECURITY.to_vec());
        // Tables can be asked for by name only where their schemas may be used, which a login need not.
        self.act(&format!("SET ROLE {APP_ROLE}")).await?;
        let privileges = Privileges {
            passes_everything: role.get(0),
            writes: self.names(WRITES, &[&APP_ROLE, &guarded]).await?,
            unreadable: self.names(UNREADABLE, &[&APP_ROLE]).await?,
            without_row_security: self.names(WITHOUT_ROW_SECURITY, &[&secured]).await?,
            open_functions: self.names(OPEN_FUNCTIONS, &[]).await?,
        };
        self.act("RESET ROLE").await?;
        Ok(privileges)
    }

    async fn act(&self, statement: &str) -> Result<(), Error> {
        let done = self.0.batch_execute(statement).await;
        done.map_err(Error::query("acting as the service's role"))
    }

    /// The folder of the server's data, on its own machine; none where the login may not know.
    pub async fn data_directory(&self) -> Option<PathBuf> {
        let statement = "SELECT current_setting('data_directory')";
        let row = self.0.query_one(statement, &[]).await.ok()?;
        Some(PathBuf::from(row.get::<_, String>(0)))
    }

    async fn names(
        &self,
        statement: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<String>, Error> {
        let rows = self.0.query(statement, params).await;
        let rows = rows.map_err(Error::query("asking for privileges"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

fn seconds_since_1970() -> f64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0.0, |since| since.as_secs_f64())
}
