//! The front doors: TLS, who may come in, and what they may do.

mod address;
mod certificates;
mod clients;
mod reload;
mod roles;
mod silence;
mod tls;

use leadvault::{
    proto::intake::v1::{
        IngestRowsRequest, IngestRowsResponse, ListAuditLogRequest,
        intake_service_client::IntakeServiceClient,
    },
    server::doors::Token,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tonic::{
    Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::harness::{Workspace, row};

/// The line of a client that comes by a token, and the token.
fn client(name: &str, role: &str) -> (String, String) {
    let token = Token::generate().unwrap();
    let line = format!("{name} {role} {}\n", token.hash());
    (line, token.reveal().to_owned())
}

/// A request that shows a token.
fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// Ingests one row, by a call that may show a token.
async fn ingest(channel: Channel, token: Option<&str>) -> Result<IngestRowsResponse, Status> {
    let message = IngestRowsRequest {
        source: "apollo".to_owned(),
        json_rows: vec![row("a@x.example").into()],
        ..IngestRowsRequest::default()
    };
    let request = match token {
        Some(token) => with_token(token, message),
        None => Request::new(message),
    };
    let response = IntakeServiceClient::new(channel).ingest_rows(request).await;
    response.map(tonic::Response::into_inner)
}

/// The actors of the audit trail, oldest entry first.
async fn actors(channel: Channel, token: &str) -> Vec<String> {
    let request = with_token(token, ListAuditLogRequest::default());
    let response = IntakeServiceClient::new(channel)
        .list_audit_log(request)
        .await;
    let entries = response.unwrap().into_inner().entries;
    let actor = |details: &str| {
        let details: serde_json::Value = serde_json::from_str(details).unwrap();
        details["actor"].as_str().unwrap().to_owned()
    };
    entries
        .iter()
        .map(|entry| actor(&entry.details_json))
        .collect()
}

/// An authority that signs certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, uuid::Uuid::new_v4().to_string());
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate of a server on this machine.
    fn server(&self) -> Signed {
        self.sign(None, &["localhost", "127.0.0.1"])
    }

    /// One that was good in the last century.
    fn expired_server(&self) -> Signed {
        self.sign_as(None, &["localhost", "127.0.0.1"], |params| {
            params.not_before = rcgen::date_time_ymd(1998, 1, 1);
            params.not_after = rcgen::date_time_ymd(1999, 1, 1);
        })
    }

    /// A certificate with a common name, DNS names and addresses.
    fn sign(&self, common_name: Option<&str>, names: &[&str]) -> Signed {
        self.sign_as(common_name, names, |_| {})
    }

    fn sign_as(
        &self,
        common_name: Option<&str>,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Signed {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Signed {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// Connects, trusting this authority's servers alone, perhaps with a certificate.
    async fn connect(
        &self,
        endpoint: &str,
        shown: Option<&Signed>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.pem()));
        if let Some(shown) = shown {
            tls = tls.identity(Identity::from_pem(&shown.certificate, &shown.key));
        }
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await
    }
}

/// The flags of a server with a certificate of this authority.
fn tls_flags(workspace: &Workspace, authority: &Authority) -> [String; 4] {
    let signed = authority.server();
    let certificate = workspace.file("server.pem", signed.certificate);
    let key = workspace.file("server.key", signed.key);
    [
        "--tls-certificate".to_owned(),
        certificate,
        "--tls-key".to_owned(),
        key,
    ]
}
