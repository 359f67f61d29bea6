//! The function layer: functions, triggers and views, rebuilt as a whole.
//!
//! The database keeps what the last rebuild made, so that the next one can drop exactly that, in an
//! order that needs no CASCADE. Whoever else depends on one of the objects makes the rebuild fail
//! with their name, and nothing changes. `public.leadvault_function_layer` is where it is kept.

mod objects;

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::{Client, Transaction};

use super::super::error::{Error, describe};
use super::super::{APP_ROLE, MONITOR_ROLE};
use super::state::LayerState;

/// The version of the function layer. **Raise it by one in every release whose text under
/// `migrations/functions` or `migrations/versioned` differs from the release before**: it is how an
/// older binary sees that it is older, and keeps its hands off.
pub const LAYER_VERSION: i32 = 1;

/// The oldest [`LAYER_VERSION`] whose binaries can still work with this layer. **Set it to
/// [`LAYER_VERSION`] whenever a function, view or column that an older binary uses is removed or
/// means something else**; leave it where things were only added. Older binaries then refuse to
/// start instead of failing request by request.
pub const COMPATIBLE_FROM: i32 = 1;

/// The schemas whose functions, triggers and views are ours to watch.
pub(super) const SCHEMAS: [&str; 7] = [
    "intake",
    "vault",
    "company",
    "people",
    "marketing",
    "bit",
    "ple",
];

/// A file of the layer: its name and its text.
macro_rules! function_file {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/migrations/functions/",
                $name
            )),
        )
    };
}

/// The files, in the order in which they run. A new file needs its line here.
const FILES: [(&str, &str); 27] = [
    function_file!("intake.sql"),
    function_file!("intake_chunks.sql"),
    function_file!("intake_ending.sql"),
    function_file!("intake_staging.sql"),
    function_file!("vault.sql"),
    function_file!("vault_contacts.sql"),
    function_file!("vault_suppressions.sql"),
    function_file!("vault_suppressed_people.sql"),
    function_file!("vault_promotion.sql"),
    function_file!("vault_promotion_chunks.sql"),
    function_file!("company.sql"),
    function_file!("company_slots.sql"),
    function_file!("company_records.sql"),
    function_file!("people.sql"),
    function_file!("people_staging.sql"),
    function_file!("people_promotion.sql"),
    function_file!("people_writes.sql"),
    function_file!("people_intelligence.sql"),
    function_file!("ple.sql"),
    function_file!("ple_leasing.sql"),
    function_file!("ple_ending.sql"),
    function_file!("marketing_campaigns.sql"),
    function_file!("marketing_outreach.sql"),
    function_file!("marketing_engagements.sql"),
    function_file!("marketing_conversions.sql"),
    function_file!("bit.sql"),
    function_file!("bit_reports.sql"),
];

/// How long a rebuild waits for a table that others use. Short, because everybody who comes after it
/// waits behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";
const ATTEMPTS: u32 = 12;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS public.leadvault_function_layer (
    singleton boolean NOT NULL DEFAULT true,
    layer_version integer NOT NULL,
    compatible_from integer NOT NULL,
    fingerprint text NOT NULL,
    objects text[] NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT leadvault_function_layer_pkey PRIMARY KEY (singleton),
    CONSTRAINT leadvault_function_layer_singleton_check CHECK (singleton)
);
COMMENT ON TABLE public.leadvault_function_layer IS
    'Which functions, triggers and views leadvault made at its last rebuild. Written by leadvault migrate.';
COMMENT ON COLUMN public.leadvault_function_layer.singleton IS
    'Always true: there is one row.';
COMMENT ON COLUMN public.leadvault_function_layer.layer_version IS
    'The release that built it: binaries with a lower number do not touch the database.';
COMMENT ON COLUMN public.leadvault_function_layer.compatible_from IS
    'Binaries with a lower layer version cannot work with it and refuse to start.';
COMMENT ON COLUMN public.leadvault_function_layer.fingerprint IS
    'SHA-256 of the text that it was built from; empty where it must be rebuilt.';
COMMENT ON COLUMN public.leadvault_function_layer.objects IS
    'What was made, as DROP wants to read it.';
COMMENT ON COLUMN public.leadvault_function_layer.applied_at IS
    'When it was built or dropped.';";

/// What the database says about its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayerRow {
    pub(super) layer_version: i32,
    pub(super) compatible_from: i32,
    pub(super) fingerprint: String,
}

impl LayerRow {
    pub(super) fn state(&self) -> LayerState {
        if self.layer_version > LAYER_VERSION {
            LayerState::Newer
        } else if self.fingerprint.is_empty() {
            LayerState::Missing
        } else if self.layer_version == LAYER_VERSION && self.fingerprint == fingerprint() {
            LayerState::Current
        } else {
            LayerState::Changed
        }
    }
}

/// SHA-256 over the files with their names and lengths.
pub(super) fn fingerprint() -> String {
    let mut hash = Sha256::new();
    for (name, text) in FILES {
        hash.update(format!("{name} {}\n", text.len()));
        hash.update(text);
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn table_exists(client: &Client, name: &str) -> Result<bool, Error> {
    let row = client
        .query_one("SELECT to_regclass($1) IS NOT NULL", &[&name])
        .await
        .map_err(Error::query("looking for the migrations' tables"))?;
    Ok(row.get(0))
}

pub(super) async fn read_row(client: &Client) -> Result<Option<LayerRow>, Error> {
    if !table_exists(client, "public.leadvault_function_layer").await? {
        return Ok(None);
    }
    let row = client
        .query_opt(
            "SELECT layer_version, compatible_from, fingerprint FROM public.leadvault_function_layer",
            &[],
        )
        .await
        .map_err(Error::query("reading public.leadvault_function_layer"))?;
    Ok(row.map(|row| LayerRow {
        layer_version: row.get(0),
        compatible_from: row.get(1),
        fingerprint: row.get(2),
    }))
}

/// Makes the next [`rebuild`] necessary, whatever happens until then.
pub(super) async fn mark_stale(client: &Client) -> Result<(), Error> {
    if !table_exists(client, "public.leadvault_function_layer").await? {
        return Ok(());
    }
    let marked = client
        .execute(
            "UPDATE public.leadvault_function_layer SET fingerprint = ''",
            &[],
        )
        .await;
    marked.map_err(failed("marking it for a rebuild"))?;
    Ok(())
}

/// Drops the recorded layer and builds the one of this binary, in one transaction.
pub(super) async fn rebuild(client: &mut Client) -> Result<(), Error> {
    patiently(client, Work::Rebuild).await
}

/// Drops the recorded layer.
pub(super) async fn drop_all(client: &mut Client) -> Result<(), Error> {
    patiently(client, Work::Drop).await
}

#[derive(Clone, Copy)]
enum Work {
    Rebuild,
    Drop,
}

/// Tries again where somebody held a lock, so that nobody queues behind us for long.
async fn patiently(client: &mut Client, work: Work) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        let step = Box::pin(once(client, work)).await;
        let Err(failure) = step else { return Ok(()) };
        if attempt == ATTEMPTS || !failure.is_lock {
            return Err(failure.error);
        }
        tracing::info!(attempt, "the function layer is in use: trying again");
        attempt += 1;
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
}

/// An error, and whether waiting may help.
pub(super) struct Failure {
    error: Error,
    is_lock: bool,
}

fn failure(place: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Failure {
    let place = place.into();
    move |error| Failure {
        is_lock: error.code().is_some_and(|code| {
            *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED
        }),
        error: failed(place)(error),
    }
}

fn failed(place: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let place = place.into();
    move |error| Error::FunctionLayer {
        place,
        detail: describe(&error),
    }
}

async fn once(client: &mut Client, work: Work) -> Result<(), Failure> {
    let tx = client.transaction().await.map_err(failure("beginning"))?;
    let prepared = tx.batch_execute(&format!("{LOCK_TIMEOUT};{TABLE}")).await;
    prepared.map_err(failure("making public.leadvault_function_layer"))?;
    objects::drop_recorded(&tx).await?;
    match work {
        Work::Rebuild => build(&tx).await?,
        Work::Drop => record(&tx, "", &[]).await?,
    }
    tx.commit().await.map_err(failure("committing"))
}

async fn build(tx: &Transaction<'_>) -> Result<(), Failure> {
    let before = objects::list(tx).await?;
    for (name, text) in FILES {
        let run = tx.batch_execute(text).await;
        run.map_err(|error| failure(place_in(name, text, &error))(error))?;
    }
    let mut made = objects::list(tx).await?;
    made.retain(|object| !before.iter().any(|old| old.id == object.id));
    objects::revoke_from_public(tx, &made).await?;
    let texts: Vec<&str> = made.iter().map(|object| object.text.as_str()).collect();
    record(tx, &fingerprint(), &texts).await?;
    grant_reading(tx).await
}

/// The file and line of an error in a batch.
fn place_in(name: &str, text: &str, error: &tokio_postgres::Error) -> String {
    let file = format!("migrations/functions/{name}");
    match error.as_db_error().and_then(|db| db.position()) {
        // PostgreSQL counts characters from 1.
        Some(ErrorPosition::Original(at)) => {
            let before = text.chars().take(*at as usize);
            let line = before.filter(|c| *c == '\n').count() + 1;
            format!("{file} line {line}")
        }
        _ => file,
    }
}

async fn record(tx: &Transaction<'_>, fingerprint: &str, objects: &[&str]) -> Result<(), Failure> {
    let recorded = tx
        .execute(
            "INSERT INTO public.leadvault_function_layer
                 (layer_version, compatible_from, fingerprint, objects)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (singleton) DO UPDATE
             SET layer_version = EXCLUDED.layer_version,
                 compatible_from = EXCLUDED.compatible_from,
                 fingerprint = EXCLUDED.fingerprint,
                 objects = EXCLUDED.objects,
                 applied_at = EXCLUDED.applied_at",
            &[&LAYER_VERSION, &COMPATIBLE_FROM, &fingerprint, &objects],
        )
        .await;
    recorded.map_err(failure("recording what was made"))?;
    Ok(())
}

/// A server that must not migrate still looks whether it can work with the database.
async fn grant_reading(tx: &Transaction<'_>) -> Result<(), Failure> {
    for role in [APP_ROLE, MONITOR_ROLE] {
        let found = tx
            .query_opt("SELECT 1 FROM pg_roles WHERE rolname = $1", &[&role])
            .await
            .map_err(failure("looking for the roles"))?;
        if found.is_none() {
            continue;
        }
        let grant = format!(
            "GRANT SELECT ON public.leadvault_function_layer, public.__diesel_schema_migrations TO {role}"
        );
        let granted = tx.batch_execute(&grant).await;
        granted.map_err(failure("granting the roles to read the migrations' tables"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_says_where_the_layer_stands() {
        let mut row = LayerRow {
            layer_version: LAYER_VERSION,
            compatible_from: COMPATIBLE_FROM,
            fingerprint: fingerprint(),
        };
        assert_eq!(row.state(), LayerState::Current);
        row.layer_version = LAYER_VERSION - 1;
        assert_eq!(row.state(), LayerState::Changed);
        row.fingerprint.clear();
        assert_eq!(row.state(), LayerState::Missing);
        row.layer_version = LAYER_VERSION + 1;
        assert_eq!(row.state(), LayerState::Newer);
        assert_eq!(fingerprint().len(), 64);
    }
}
