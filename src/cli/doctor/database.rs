//! The database: that it can be reached, and is as the service needs it.

use super::{
    Urls,
    check::{Check, State},
    machine,
    server::{self, LANGUAGE, TLS, WRITES},
};
use crate::{
    config::ServiceSettings,
    db::{
        APP_ROLE, DatabaseUrl, Error,
        connect::connect,
        inspect::{Inspector, Privileges, Server},
        migrate::{self, MigrationState},
        pooler::{self, Connections},
    },
};

pub(super) const REACHABLE: &str = "database";
const POOLER: &str = "pooler";
const CONNECTIONS: &str = "connections";
const ROLE: &str = "role";
const PRIVILEGES: &str = "privileges";
const MIGRATIONS: &str = "migrations";
const MIGRATING_LOGIN: &str = "migrating login";
const CLOCK: &str = "clock";
/// By how much the clocks may differ, in seconds.
const CLOCK_LIMIT: f64 = 1.0;
/// How many names a message has at the most.
const MOST_NAMES: usize = 5;

/// What is not looked at where the database cannot be reached.
pub(super) fn skipped() -> Vec<Check> {
    [
        WRITES,
        TLS,
        LANGUAGE,
        POOLER,
        CONNECTIONS,
        ROLE,
        MIGRATIONS,
        PRIVILEGES,
        CLOCK,
    ]
    .map(|check| Check::skipped(check, "the database could not be asked"))
    .to_vec()
}

pub(super) async fn check(urls: &Urls, settings: &ServiceSettings, with_disk: bool) -> Vec<Check> {
    let reached = async {
        let inspector = Inspector::connect(&urls.service).await?;
        let server = inspector.server().await?;
        Ok::<_, Error>((inspector, server))
    };
    let (inspector, server) = match reached.await {
        Ok(reached) => reached,
        Err(error) => {
            let mut checks = vec![Check::error(REACHABLE, &error)];
            checks.extend(skipped());
            return checks;
        }
    };
    let role = role(&urls.service).await;
    let migrations = migrations(&urls.migrations).await;
    let privileges = if has_failed(std::slice::from_ref(&role)) {
        vec![Check::skipped(
            PRIVILEGES,
            "the login may not act as the role",
        )]
    } else if has_failed(&migrations) {
        vec![Check::skipped(
            PRIVILEGES,
            "migrations come first, which set them",
        )]
    } else {
        privileges(&inspector).await
    };
    let reached = format!("PostgreSQL {} at {}", server.version, urls.service);
    let mut checks = vec![
        Check::ok(REACHABLE, reached),
        server::writes(&server),
        server::tls(&urls.service).await,
        server::language(&urls.service).await,
    ];
    checks.extend(pooler(&urls.service).await);
    checks.extend([connections(&server, settings), role]);
    checks.extend(migrations);
    checks.extend(privileges);
    checks.push(clock(&inspector).await);
    // Elsewhere it is not for this machine to see.
    if with_disk && urls.service.is_loopback() {
        let folder = inspector.data_directory().await;
        checks.extend(
            folder
                .filter(|folder| folder.exists())
                .map(|folder| machine::disk(&folder)),
        );
    }
    checks
}

fn has_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.state == State::Failed)
}

fn connections(server: &Server, settings: &ServiceSettings) -> Check {
    let wanted = settings
        .pool_size
        .saturating_add(settings.point_read_connections);
    let most = server.connections;
    if i64::from(wanted) <= i64::from(most) {
        let detail = format!("the service takes at most {wanted} of {most}");
        return Check::ok(CONNECTIONS, detail);
    }
    let login = &server.login;
    Check::warning(
        CONNECTIONS,
        format!("the service takes up to {wanted}, and {login} can have {most}"),
        "lower --pool-size, or raise max_connections (or the limit of the login or the database)",
    )
}

async fn pooler(url: &DatabaseUrl) -> Vec<Check> {
    let looked = async {
        let found = pooler::verify(url).await?;
        Ok::<_, Error>((found, pooler::unbounded(url).await?))
    };
    let (found, missing) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return vec![Check::error(POOLER, &error)],
    };
    let mut checks = Vec::new();
    if found == Connections::One {
        checks.push(Check::warning(
            POOLER,
            "it has one connection to PostgreSQL for the service, or all others are taken: while a call, an export or a \
             chunk keeps it every other call waits, and the database counts as away",
            "raise its pool (PgBouncer: default_pool_size) to what --pool-size and --point-read-connections come to",
        ));
    }
    if !missing.is_empty() {
        checks.push(Check::warning(
            POOLER,
            "behind this pooler the login must bound what it runs, and does not: a statement may run, wait for a lock or \
             leave its transaction open for ever, or go on when its caller is gone",
            format!(
                "as an administrator run {}; then let the pooler reconnect",
                missing.join("; ")
            ),
        ));
    }
    if checks.is_empty() {
        let detail = "the connections keep what the service needs";
        checks.push(Check::ok(POOLER, detail));
    }
    checks
}

async fn role(url: &DatabaseUrl) -> Check {
    let verified = async {
        migrate::verify_role(url).await?;
        connect(url, Some(APP_ROLE)).await.map(drop)
    };
    match verified.await {
        Ok(()) => Check::ok(ROLE, format!("the login may act as {APP_ROLE}")),
        Err(error) => Check::error(ROLE, &error),
    }
}

async fn privileges(inspector: &Inspector) -> Vec<Check> {
    match inspector.privileges().await {
        Ok(privileges) => judge(&privileges),
        Err(error) => vec![Check::error(PRIVILEGES, &error)],
    }
}

fn judge(privileges: &Privileges) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut failed = |is_bad: bool, detail: String, mend: String| {
        if is_bad {
            checks.push(Check::failed(PRIVILEGES, detail, mend));
        }
    };
    failed(
        privileges.passes_everything,
        format!("{APP_ROLE} passes row level security, or is a superuser"),
        format!("as a superuser run ALTER ROLE {APP_ROLE} NOSUPERUSER NOBYPASSRLS"),
    );
    failed(
        !privileges.writes.is_empty(),
        format!(
            "{APP_ROLE} may write past the functions: {}",
            names(&privileges.writes)
        ),
        format!(
            "as the owner run REVOKE {} FROM {APP_ROLE} (and so on; from PUBLIC or a role that it is a member of, where it has it from there)",
            first(&privileges.writes)
        ),
    );
    failed(
        !privileges.unreadable.is_empty(),
        format!("{APP_ROLE} cannot read {}", names(&privileges.unreadable)),
        format!(
            "as the owner run GRANT SELECT ON {} TO {APP_ROLE} (and so on, and USAGE on the schema); a restore keeps privileges unless told not to",
            first(&privileges.unreadable)
        ),
    );
    failed(
        !privileges.without_row_security.is_empty(),
        format!(
            "row level security is off on {}",
            names(&privileges.without_row_security)
        ),
        format!(
            "as the owner run ALTER TABLE {} ENABLE ROW LEVEL SECURITY",
            first(&privileges.without_row_security)
        ),
    );
    failed(
        !privileges.open_functions.is_empty(),
        format!(
            "everybody may execute {}",
            names(&privileges.open_functions)
        ),
        format!(
            "as the owner run REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC",
            first(&privileges.open_functions)
        ),
    );
    if checks.is_empty() {
        let detail =
            format!("{APP_ROLE} reads all, and writes by functions; row level security is on");
        checks.push(Check::ok(PRIVILEGES, detail));
    }
    checks
}

/// The first names, and how many more there are.
fn names(all: &[String]) -> String {
    let first = all.iter().take(MOST_NAMES).map(String::as_str);
    let named = first.collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(MOST_NAMES) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn first(all: &[String]) -> &str {
    all.first().map_or("", String::as_str)
}

async fn migrations(url: &DatabaseUrl) -> Vec<Check> {
    let status = match migrate::status(url).await {
        Ok(status) => status,
        Err(error) => return vec![Check::error(MIGRATIONS, &error)],
    };
    let version = status.layer_version.unwrap_or_default();
    let applied = status.migrations.iter();
    let applied = applied.filter(|migration| migration.state != MigrationState::Pending);
    let detail = format!(
        "{} applied, function layer version {version}",
        applied.count()
    );
    if status.is_current() {
        return vec![Check::ok(MIGRATIONS, detail)];
    }
    if let Err(error) = migrate::check(url).await {
        let mut checks = vec![Check::error(MIGRATIONS, &error)];
        let may = migrate::may_migrate(url).await.err();
        checks.extend(may.map(|error| Check::error(MIGRATING_LOGIN, &error)));
        return checks;
    }
    let detail =
        format!("a newer leadvault migrated the database, which this one can work with: {detail}");
    vec![Check::warning(
        MIGRATIONS,
        detail,
        "install that release here, too",
    )]
}

async fn clock(inspector: &Inspector) -> Check {
    let (ahead, unsure) = match inspector.clock().await {
        Ok(seen) => seen,
        Err(error) => return Check::error(CLOCK, &error),
    };
    judge_clock(ahead, unsure)
}

fn judge_clock(ahead: f64, unsure: f64) -> Check {
    let (apart, side) = (ahead.abs(), if ahead > 0.0 { "ahead of" } else { "behind" });
    if apart - unsure > CLOCK_LIMIT {
        let detail = format!("the database's clock is {apart:.1} s {side} this machine's");
        return Check::warning(
            CLOCK,
            detail,
            "let both be set by NTP (chrony, systemd-timesyncd): leases, windows and certificates go by them",
        );
    }
    Check::ok(CLOCK, format!("{apart:.3} s apart (± {unsure:.3} s)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_be_a_second_apart_as_far_as_that_is_sure() {
        assert_eq!(judge_clock(0.9, 0.0).state, State::Ok);
        assert_eq!(judge_clock(-1.4, 0.5).state, State::Ok);
        let behind = judge_clock(-2.0, 0.1);
        assert_eq!(behind.state, State::Warning);
        assert!(
            behind.detail.contains("2.0 s behind this machine's"),
            "{behind:?}"
        );
    }

    #[test]
    fn many_names_are_cut() {
        let all: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        assert_eq!(names(&all), "0, 1, 2, 3, 4 and 2 more");
        assert_eq!(names(&all[..2]), "0, 1");
    }
}
