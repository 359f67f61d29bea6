//! What keeps the service from starting: an address that is too open, and files that are not what they must be.

use super::{Authority, client, ingest, tls_flags};
use crate::harness::{Service, Workspace, fresh_database, leadvault, run};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_is_refused_before_anything_is_started() {
    let workspace = Workspace::new();
    let data_dir = workspace.data_dir();
    let tls = tls_flags(&workspace, &Authority::new());
    let clients = workspace.file("clients", client("ops", "admin").0);
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    for (flags, remedy) in [
        (&[][..], "--tls-certificate, --tls-key and --clients"),
        (&tls, "Give --clients"),
        (
            &["--clients", &clients],
            "Give --tls-certificate and --tls-key",
        ),
    ] {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let serve = [
                "serve",
                "--listen",
                address,
                "--data-dir",
                data_dir.to_str().unwrap(),
            ];
            let said = run(&[&serve, flags].concat()).await.failed(2);
            assert!(
                said.contains(remedy) && said.contains("--insecure"),
                "{said}"
            );
        }
    }
    assert!(!data_dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_is_said_loudly() {
    let url = fresh_database().await;
    let serve = ["serve", "--listen", "0.0.0.0:0", "--database-url", &url];
    let service = Service::start(leadvault(&[&serve[..], &["--insecure"]].concat())).await;
    let (_, log) = service.stop().await;
    let warning = log.lines().find(|line| line.contains("INSECURE"));
    assert!(warning.unwrap().contains("WARN"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_clients_open_every_address() {
    let workspace = Workspace::new();
    let authority = Authority::new();
    let url = fresh_database().await;
    let (line, token) = client("ops", "admin");
    let clients = workspace.file("clients", line);
    let tls = tls_flags(&workspace, &authority);
    let mut command = leadvault(&["serve", "--listen", "0.0.0.0:0", "--database-url", &url]);
    command.args(tls).args(["--clients", &clients]);
    let service = Service::start(command).await;
    let endpoint = service.endpoint().replace("0.0.0.0", "127.0.0.1");
    let channel = authority.connect(&endpoint, None).await.unwrap();
    ingest(channel, Some(&token)).await.unwrap();
    let (_, log) = service.stop().await;
    assert!(!log.contains("INSECURE"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_named_with_what_would_be_right() {
    let workspace = Workspace::new();
    let authority = Authority::new();
    let signed = authority.server();
    let certificate = workspace.file("server.pem", &signed.certificate);
    let key = workspace.file("server.key", &signed.key);
    let other_key = workspace.file("other.key", authority.server().key);
    let empty = workspace.file("empty", "");
    let torn = workspace.file("torn.pem", &signed.certificate[..200]);
    let bad_clients = workspace.file("bad-clients", "# who\ncrm loader sha256:12\n");
    let by_certificate = workspace.file("by-certificate", "crm loader certificate\n");
    let nowhere = workspace.path("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let pair = |certificate, key| vec!["--tls-certificate", certificate, "--tls-key", key];
    let good = pair(&certificate, &key);
    for (flags, says) in [
        (
            pair(nowhere, &key),
            ["--tls-certificate", "nowhere: cannot be read"],
        ),
        (
            pair(&empty, &key),
            ["--tls-certificate", "empty: holds no certificate"],
        ),
        (pair(&torn, &key), ["--tls-certificate", "PEM"]),
        (
            pair(&key, &key),
            ["--tls-certificate", "holds no certificate"],
        ),
        (
            pair(&certificate, &certificate),
            ["--tls-key", "holds no private key"],
        ),
        (
            pair(&certificate, &other_key),
            ["--tls-key", "is not the key of the certificate"],
        ),
        (vec!["--clients", nowhere], ["--clients", "nowhere: "]),
        (
            vec!["--clients", &empty],
            ["--clients", "leadvault token new"],
        ),
        (vec!["--clients", &bad_clients], ["--clients", "line 2: "]),
        (
            vec!["--clients", &by_certificate],
            ["line 1: ", "--tls-client-ca"],
        ),
        (
            [
                &good[..],
                &["--clients", &by_certificate, "--tls-client-ca", &empty],
            ]
            .concat(),
            ["--tls-client-ca", "holds no certificate"],
        ),
    ] {
        let said = run(&[&["serve"], &flags[..]].concat()).await.failed(2);
        assert!(
            says.iter().all(|text| said.contains(text)),
            "{flags:?}: {said}"
        );
    }
    // Half of a pair, and an authority without clients, are mistakes of the command line.
    for flags in [
        &good[..2],
        &good[2..],
        &[&good[..], &["--tls-client-ca", &certificate]].concat(),
    ] {
        run(&[&["serve"], flags].concat()).await.failed(2);
    }
}
