//! Leases: who gets whom, and for how long.

use std::time::Duration;

use diesel_async::AsyncPgConnection;

use super::convert;
use crate::{
    config::EnrichmentSettings,
    domain::Actor,
    golden::fields,
    people::repository::leasing::{self as repository, Lease, Taken, Wanted},
    proto::people::v1 as pb,
    room::Room,
    rpc::Error,
};

/// The most people of one lease.
const MAX_LEASED: i32 = 1_000;
/// The longest lease, whatever the settings say.
const MAX_LEASE: Duration = Duration::from_secs(86_400);

pub(in crate::people) async fn lease_enrichment(
    room: &Room,
    settings: &EnrichmentSettings,
    request: pb::LeaseEnrichmentRequest,
    actor: Actor,
) -> Result<pb::LeaseEnrichmentResponse, Error> {
    fields::indexed("worker", request.worker.clone())?;
    let worker = match request.worker.as_str() {
        "" => actor.as_str().to_owned(),
        _ => request.worker,
    };
    let most = match request.max_count {
        ..0 => return Err(Error::invalid("max_count", "must not be negative")),
        0 => 1,
        most => most.min(MAX_LEASED),
    };
    let wanted = Wanted {
        worker,
        most,
        lease: lease_time(request.lease_ms, settings)?,
        max_overruns: settings.enrichment_max_overruns,
        max_bytes: room.limits.max_page_bytes,
    };
    let mut connection = room.connection().await?;
    // A caller who is gone by then cannot use the leases; but a connection that is let go in the middle of a
    // statement is one less for the others.
    let leases = room
        .uncut(async move { take(&mut connection, &wanted).await })
        .await?;
    Ok(pb::LeaseEnrichmentResponse {
        leases: leases.into_iter().map(convert::lease).collect(),
    })
}

/// Leases in short transactions, as many as it takes: each puts some into line or sets some aside, so that the
/// next finds less to do.
async fn take(connection: &mut AsyncPgConnection, wanted: &Wanted) -> Result<Vec<Lease>, Error> {
    let mut strict = true;
    loop {
        match repository::lease(connection, wanted, strict).await? {
            Taken::Leases(leases) => return Ok(leases),
            Taken::SetAside => {}
            Taken::Crowded => strict = !repository::line_up(connection).await?.stuck,
        }
    }
}

/// How long a lease is to last.
fn lease_time(lease_ms: i64, settings: &EnrichmentSettings) -> Result<Duration, Error> {
    let longest = settings.enrichment_max_lease.min(MAX_LEASE);
    match u64::try_from(lease_ms).map(Duration::from_millis) {
        Err(_) => Err(Error::invalid("lease_ms", "must not be negative")),
        Ok(Duration::ZERO) => Ok(settings.enrichment_lease.min(longest)),
        Ok(lease) if lease > longest => Err(Error::LimitExceeded {
            what: "lease_ms",
            limit: usize::try_from(longest.as_millis()).unwrap_or(usize::MAX),
            actual: usize::try_from(lease_ms).unwrap_or(usize::MAX),
            setting: Some("enrichment-max-lease"),
        }),
        Ok(lease) => Ok(lease),
    }
}
