//! TLS, and clients that come by a certificate.

use tonic::{Code, Status};

use super::{Authority, Signed, actors, client, ingest, tls_flags};
use crate::harness::{App, Workspace, refusal, until};

/// A server that takes clients' certificates of an authority, and a file of clients.
async fn server(workspace: &Workspace, authority: &Authority, clients: &str) -> App {
    let tls = tls_flags(workspace, authority);
    let ca = workspace.file("ca.pem", authority.pem());
    let clients = workspace.file("clients", clients);
    let mut flags: Vec<&str> = tls.iter().map(String::as_str).collect();
    flags.extend(["--tls-client-ca", &ca, "--clients", &clients]);
    App::start_with(&flags).await
}

/// Ingests a row with what is shown.
async fn shows(
    app: &App,
    authority: &Authority,
    signed: Option<&Signed>,
    token: Option<&str>,
) -> Result<(), Status> {
    let channel = authority.connect(&app.endpoint(), signed).await.unwrap();
    ingest(channel, token).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_its_authority_alone() {
    let workspace = Workspace::new();
    let authority = Authority::new();
    let tls = tls_flags(&workspace, &authority);
    let flags: Vec<&str> = tls.iter().map(String::as_str).collect();
    let app = App::start_with(&flags).await;
    shows(&app, &authority, None, None).await.unwrap();
    let stranger = Authority::new().connect(&app.endpoint(), None).await;
    let said = format!("{:?}", stranger.unwrap_err());
    assert!(said.contains("UnknownIssuer"), "{said}");
    let plain = app.endpoint().replace("https://", "http://");
    let plain = tonic::transport::Endpoint::from_shared(plain).unwrap();
    let said = ingest(plain.connect_lazy(), None).await;
    assert_eq!(refusal(said).reason, "", "nothing but TLS is spoken");
    until("both to be counted", async || {
        let (_, metrics) = app.page("/metrics").await;
        let line = "leadvault_tls_handshakes_failed_total ";
        let count = metrics.lines().find_map(|text| text.strip_prefix(line));
        (count.unwrap().parse::<u64>().unwrap() >= 2).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_in_a_certificate_is_the_actor() {
    let workspace = Workspace::new();
    let authority = Authority::new();
    let (line, token) = client("ops", "operator");
    let clients = format!("{line} by-dns.example loader certificate\n by-cn loader certificate\n");
    let app = server(&workspace, &authority, &clients).await;
    for signed in [
        authority.sign(None, &["elsewhere.example", "by-dns.example"]),
        authority.sign(Some("by-cn"), &[]),
        authority.sign(Some("by-cn"), &["elsewhere.example"]),
    ] {
        shows(&app, &authority, Some(&signed), None).await.unwrap();
    }
    let channel = authority.connect(&app.endpoint(), None).await.unwrap();
    let mut seen = actors(channel, &token).await;
    seen.dedup();
    assert_eq!(seen, ["by-dns.example", "by-cn"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_proves_a_client_that_comes_by_one_and_no_other() {
    let workspace = Workspace::new();
    let authority = Authority::new();
    let (line, token) = client("ops", "operator");
    let clients = format!("{line} crm loader certificate\n");
    let app = server(&workspace, &authority, &clients).await;

    let stranger = authority.sign(Some("nobody"), &["nobody.example"]);
    refusal(shows(&app, &authority, Some(&stranger), None).await)
        .is(Code::Unauthenticated, "UNKNOWN_CERTIFICATE")
        .says("names", "nobody.example,nobody");
    // This client comes by its token alone, whatever a certificate says.
    let namesake = authority.sign(Some("ops"), &[]);
    refusal(shows(&app, &authority, Some(&namesake), None).await)
        .is(Code::Unauthenticated, "UNKNOWN_CERTIFICATE");
    // A token decides, good or bad.
    shows(&app, &authority, Some(&stranger), Some(&token))
        .await
        .unwrap();
    let crm = authority.sign(Some("crm"), &[]);
    refusal(shows(&app, &authority, Some(&crm), Some("lv_wrong")).await)
        .is(Code::Unauthenticated, "INVALID_TOKEN");
    refusal(shows(&app, &authority, None, None).await).is(Code::Unauthenticated, "NO_CREDENTIALS");

    // Signed by somebody else: there is no connection at all.
    let forged = Authority::new().sign(Some("crm"), &[]);
    let outcome = match authority.connect(&app.endpoint(), Some(&forged)).await {
        Ok(channel) => ingest(channel, None).await.map(drop),
        Err(error) => Err(Status::from_error(Box::new(error))),
    };
    assert_eq!(refusal(outcome).reason, "", "the handshake fails");
    app.stop().await;
}
