//! Whether our own connection to the database is encrypted. PostgreSQL cannot be asked: behind a pooler it knows of
//! the pooler's connection, and not of ours.

use std::time::Duration;

use tokio_postgres::config::SslMode;

use super::{error::Error, url::DatabaseUrl};

/// How long the second handshake may take; the first one, of the same kind, was answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// What our own socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// TLS, and nothing else.
    Encrypted,
    /// TLS, since the server has it: with `sslmode=prefer` it would be plain text if somebody on the way said that it
    /// has none.
    Preferred,
    /// Plain text.
    Plain,
}

/// What connections by a URL speak that was connected by before.
///
/// # Errors
/// [`Error::Tls`] where the certificates to verify by cannot be loaded.
pub async fn wire(url: &DatabaseUrl) -> Result<Wire, Error> {
    match url.config().get_ssl_mode() {
        SslMode::Disable => return Ok(Wire::Plain),
        SslMode::Require => return Ok(Wire::Encrypted),
        _ => {}
    }
    let mut strict = url.config().clone();
    strict.ssl_mode(SslMode::Require);
    let connecting = Box::pin(strict.connect(url.connector()?));
    Ok(match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(_)) => Wire::Preferred,
        // Who refuses by words of PostgreSQL's has done the handshake.
        Ok(Err(error)) if error.as_db_error().is_some() => Wire::Preferred,
        _ => Wire::Plain,
    })
}
