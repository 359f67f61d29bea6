//! Health follows the database: a server that cannot reach it, or finds that it takes no writes, is `NOT_SERVING`
//! until it can.

use std::time::Duration;

use tonic_health::{ServingStatus, server::HealthReporter};

use super::set_health;
use crate::db::Pool;

/// How long between two looks while all is well, and while it is not.
const CALM: Duration = Duration::from_secs(3);
const TROUBLED: Duration = Duration::from_secs(1);

/// Looks after the database for ever, and says how it is. Begins as SERVING.
pub(super) async fn watch(health: HealthReporter, pool: Pool) {
    let mut well = true;
    loop {
        tokio::time::sleep(if well { CALM } else { TROUBLED }).await;
        let trouble = trouble(&pool).await;
        if trouble.is_none() == well {
            continue;
        }
        well = trouble.is_none();
        match trouble {
            Some(trouble) => {
                tracing::warn!(trouble, "the database is away: NOT_SERVING");
                set_health(&health, ServingStatus::NotServing).await;
            }
            None => {
                tracing::info!("the database is back: SERVING");
                set_health(&health, ServingStatus::Serving).await;
            }
        }
    }
}

/// What is wrong with the database; nothing where it takes writes.
async fn trouble(pool: &Pool) -> Option<String> {
    match pool.takes_writes().await {
        Ok(true) => None,
        Ok(false) => {
            pool.doubt();
            Some("it takes no writes".to_owned())
        }
        Err(error) => Some(error.to_string()),
    }
}
