//! Loads that cannot be promoted though nothing is known to be wrong with them.
//!
//! Guarantee: what is the database's fault (a privilege that was taken away, a disk, a function that an upgrade has yet
//! to bring) does not end loads as failed by the thousand.

use diesel_async::AsyncPgConnection;

use super::repository::promotion as repository;
use crate::{domain::Actor, rpc::Error};

/// So many loads do not happen to fail all for one and the same cause.
const TOO_MANY: usize = 100;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Loads that failed each on its own, and what each failed with.
#[derive(Debug, Default)]
pub(super) struct Blamed {
    loads: Vec<(i64, String)>,
    last: Option<Cause>,
}

impl Blamed {
    /// One more.
    pub(super) fn add(&mut self, load_id: i64, cause: Cause) {
        self.loads
            .push((load_id, crate::rpc::cause(cause.as_ref())));
        self.last = Some(cause);
    }

    /// Of loads among which none could be promoted: lets them go where it is not their fault.
    ///
    /// # Errors
    /// What all of them failed with.
    pub(super) fn acquit(&mut self) -> Result<(), Error> {
        let is_one_cause = self.loads.windows(2).all(|two| two[0].1 == two[1].1);
        match self.last.take() {
            Some(cause) if self.loads.len() >= TOO_MANY && is_one_cause => {
                tracing::error!(
                    loads = self.loads.len(),
                    "no load of a chunk can be promoted, all for the same cause: they stay pending"
                );
                Err(Error::Internal(cause))
            }
            _ => Ok(()),
        }
    }

    /// Ends them as failed; says how many.
    pub(super) async fn fail(
        self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<i64, Error> {
        let mut failed = 0;
        for (load_id, cause) in self.loads {
            tracing::error!(load_id, %cause, "a load cannot be promoted; it ends as failed");
            repository::fail(connection, load_id, actor).await?;
            failed += 1;
        }
        Ok(failed)
    }
}
