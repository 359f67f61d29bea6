//! The way of every command to the service: one address, one way to connect, one kind of patience; and the
//! loader's calls that are not streams.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use clap::Args;
use tonic::{Code, transport::Endpoint};

use super::{
    credentials::{Bearer, Connection, CredentialArgs},
    load::{Error, Progress},
    retry::{Failure, Patience},
};
use crate::db::error::chain;
use crate::proto::{
    company::v1::company_service_client::CompanyServiceClient,
    intake::v1::{
        Batch, GetBatchRequest, ListRejectedRowsRequest, RejectedRow,
        intake_service_client::IntakeServiceClient,
    },
    marketing::v1::marketing_service_client::MarketingServiceClient,
    people::v1::people_service_client::PeopleServiceClient,
    vault::v1::vault_service_client::VaultServiceClient,
};

/// A page of rejected rows ends at 2 MiB, an ack holds at most 1,000 rejections.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed within the sum of these two.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the service is.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointArgs {
    /// Where the service listens
    #[arg(
        long,
        env = "LEADVAULT_ENDPOINT",
        default_value = "http://127.0.0.1:50051",
        value_name = "URL"
    )]
    endpoint: String,

    #[command(flatten)]
    credentials: CredentialArgs,
}

impl EndpointArgs {
    /// Checks the address and the credentials; connects to nothing yet.
    pub(crate) fn service(&self) -> Result<Service, Error> {
        Service::with(&self.endpoint, &self.credentials, None)
    }
}

/// Where the service is, and how long it is waited for when it is away.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServiceArgs {
    #[command(flatten)]
    at: EndpointArgs,

    /// Give up when the service stays away for longer than this, such as 90s, 10m or 2h. Without it, it is
    /// waited for for ever
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    retry_for: Option<Duration>,
}

impl ServiceArgs {
    /// Checks the address and the credentials; connects to nothing yet.
    pub(crate) fn service(&self) -> Result<Service, Error> {
        Service::with(&self.at.endpoint, &self.at.credentials, self.retry_for)
    }
}

/// A number of seconds, or a number with s, m, h or d.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| "expected a duration such as 90s, 10m or 2h".to_owned())?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        other => return Err(format!("unknown unit {other:?}; use s, m, h or d")),
    };
    number
        .checked_mul(unit)
        .map(Duration::from_secs)
        .ok_or_else(|| "too long".to_owned())
}

/// A service at an address. Connections are made when they are used, and made again when they broke.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    endpoint: Endpoint,
    bearer: Bearer,
    address: String,
    retry_for: Option<Duration>,
}

impl Service {
    /// Checks the address of a service that asks for nothing; connects to nothing yet.
    pub(crate) fn new(address: &str, retry_for: Option<Duration>) -> Result<Self, Error> {
        Self::with(address, &CredentialArgs::default(), retry_for)
    }

    fn with(
        address: &str,
        credentials: &CredentialArgs,
        retry_for: Option<Duration>,
    ) -> Result<Self, Error> {
        let wrong = |detail: &str| Error::Endpoint {
            endpoint: address.to_owned(),
            detail: detail.to_owned(),
        };
        let bearer = credentials.bearer()?;
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|_| wrong("it is not a URL"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let endpoint = match endpoint.uri().scheme_str() {
            Some("http") => {
                if let Some(flag) = credentials.of_tls() {
                    return Err(wrong(&format!("with {flag} it must begin with https://")));
                }
                if bearer.has_token() && !is_loopback(endpoint.uri()) {
                    tracing::warn!("the token goes to {address} unencrypted; prefer https");
                }
                endpoint
            }
            Some("https") => endpoint
                .tls_config(credentials.tls()?)
                .map_err(|error| wrong(&chain(&error)))?,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        Ok(Self {
            endpoint,
            bearer,
            address: address.to_owned(),
            retry_for,
        })
    }

    /// The address as it was given.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Patience with this service.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.retry_for)
    }

    fn connection(&self) -> Connection {
        Connection::new(self.endpoint.connect_lazy(), self.bearer.clone())
    }

    /// A client on a connection of its own.
    pub(crate) fn client(&self) -> IntakeServiceClient<Connection> {
        IntakeServiceClient::new(self.connection()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// A client of the Vault service, on a connection of its own.
    pub(crate) fn vault_client(&self) -> VaultServiceClient<Connection> {
        VaultServiceClient::new(self.connection()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// A client of the Company service, on a connection of its own.
    pub(crate) fn company_client(&self) -> CompanyServiceClient<Connection> {
        CompanyServiceClient::new(self.connection()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// A client of the People service, on a connection of its own.
    pub(crate) fn people_client(&self) -> PeopleServiceClient<Connection> {
        PeopleServiceClient::new(self.connection()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// A client of the Marketing service, on a connection of its own.
    pub(crate) fn marketing_client(&self) -> MarketingServiceClient<Connection> {
        MarketingServiceClient::new(self.connection()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// The batch as it is stored, or nothing where there is no such batch.
    pub(crate) async fn batch(
        &self,
        batch_id: &str,
        progress: &Progress,
    ) -> Result<Option<Batch>, Error> {
        let mut client = self.client();
        let mut patience = self.patience();
        loop {
            let request = GetBatchRequest {
                batch_id: batch_id.to_owned(),
            };
            match client.get_batch(request).await {
                Ok(response) => return Ok(response.into_inner().batch),
                Err(status) if status.code() == Code::NotFound => return Ok(None),
                Err(status) => {
                    let failure = Failure::of("to look up the batch", &status);
                    patience.wait(failure, progress).await?;
                }
            }
        }
    }

    /// Calls `each` for every rejected row of those of the batch's lanes, in the order of their rejection.
    pub(crate) async fn rejected_rows(
        &self,
        batch_id: &str,
        lanes: RangeInclusive<i32>,
        progress: &Progress,
        mut each: impl FnMut(RejectedRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut client = self.client();
        let mut patience = self.patience();
        let mut page_token = String::new();
        loop {
            let request = ListRejectedRowsRequest {
                page_size: 1000,
                page_token: page_token.clone(),
                batch_id: batch_id.to_owned(),
                ..ListRejectedRowsRequest::default()
            };
            let page = match client.list_rejected_rows(request).await {
                Ok(response) => response.into_inner(),
                Err(status) => {
                    let failure = Failure::of("to list the rejected rows", &status);
                    patience.wait(failure, progress).await?;
                    continue;
                }
            };
            patience.restore();
            for row in page.rows {
                if lanes.contains(&row.lane) {
                    each(row)?;
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Whether what is sent there stays on this machine.
fn is_loopback(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_work_is_refused_at_once() {
        for (address, says) in [("127.0.0.1:50051", "http://"), ("not a url", "URL")] {
            let error = Service::new(address, None).err().unwrap().to_string();
            assert!(error.contains(says), "{address}: {error}");
        }
        for address in ["http://[::1]:50051", "https://leads.example:50051"] {
            assert!(Service::new(address, None).is_ok(), "{address}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "m", "1.5h", "5 years", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
