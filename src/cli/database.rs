//! The database that a command works on: the one of `DATABASE_URL`, or an embedded one.

use std::time::Duration;

use crate::{
    config::{DatabaseSettings, PoolerMode},
    db::{DatabaseUrl, Embedded, EmbeddedOptions, Error, embedded::default_data_dir, migrate},
};

/// How long the embedded PostgreSQL may take to stop for somebody who does not want to wait.
const HURRY: Duration = Duration::from_secs(2);

/// An open database. Close it: an embedded one runs on otherwise.
pub(crate) struct Database {
    /// Where the service connects.
    pub(crate) url: DatabaseUrl,
    /// Where migrations connect.
    pub(crate) migration_url: DatabaseUrl,
    embedded: Option<Embedded>,
}

impl Database {
    /// Starts the embedded PostgreSQL, unless the settings name a database.
    pub(crate) async fn open(settings: &DatabaseSettings) -> Result<Self, Error> {
        if let Some(url) = &settings.database_url {
            let url = DatabaseUrl::parse(url)?;
            let migration_url = match &settings.migration_database_url {
                Some(url) => DatabaseUrl::parse(url)?,
                None => url.clone(),
            };
            let url = match settings.pooler_mode {
                PoolerMode::Session => url,
                PoolerMode::Transaction => url.without_sessions(),
            };
            return Ok(Self {
                url,
                migration_url,
                embedded: None,
            });
        }
        let data_dir = settings.data_dir.clone().unwrap_or_else(default_data_dir);
        Self::of(Embedded::start(&EmbeddedOptions::new(data_dir)).await?)
    }

    /// The database of a cluster that runs.
    pub(crate) fn of(embedded: Embedded) -> Result<Self, Error> {
        let url = DatabaseUrl::parse(&embedded.url())?;
        Ok(Self {
            migration_url: url.clone(),
            url,
            embedded: Some(embedded),
        })
    }

    /// Applies what is pending.
    pub(crate) async fn migrate(&self) -> Result<migrate::Report, Error> {
        migrate::up(&self.migration_url).await
    }

    /// Where the data is, for a person.
    pub(crate) fn describe(&self) -> String {
        match &self.embedded {
            Some(embedded) => format!(
                "data in {} (psql '{}')",
                embedded.data_dir().display(),
                embedded.url()
            ),
            None => format!("data in {}", self.url),
        }
    }

    /// Stops the embedded PostgreSQL, and at once as soon as somebody is in a hurry.
    pub(crate) async fn close(self, hurry: impl Future<Output = ()>) -> Result<(), Error> {
        let Some(embedded) = self.embedded else {
            return Ok(());
        };
        tokio::select! {
            biased;
            () = hurry => {
                tracing::warn!("PostgreSQL is ended at once");
                embedded.stop_within(HURRY).await
            }
            stopped = embedded.stop() => stopped,
        }
    }
}
