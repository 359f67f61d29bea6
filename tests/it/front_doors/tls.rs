//! The whole way as people go it: tokens made, a server with TLS, and our commands as its clients.

use crate::harness::{Running, Service, Workspace, fresh_database, leadvault, row, run};

use super::{Authority, tls_flags};

/// Makes a token as people do: the file that holds it; its line goes to the clients file.
async fn token(workspace: &Workspace, name: &str, role: &str, clients: &mut String) -> String {
    let made = run(&["token", "new", "--name", name, "--role", role]).await;
    let line = made.stderr.clone();
    clients.push_str(&line);
    let token = made.ok();
    assert!(
        token.starts_with("lv_") && token.lines().count() == 1,
        "{token}"
    );
    assert!(!line.contains(token.trim()), "the token is told once");
    workspace.file(&format!("{name}.token"), token)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_a_service_over_tls_with_a_token() {
    let workspace = Workspace::new();
    let authority = Authority::new();
    let mut clients = String::new();
    let loader = token(&workspace, "crm-sync", "loader", &mut clients).await;
    let reader = token(&workspace, "dashboards", "reader", &mut clients).await;
    clients.push_str("promoter operator certificate\n");
    let clients = workspace.file("clients", clients);
    let ca = workspace.file("ca.pem", authority.pem());
    let url = fresh_database().await;
    let mut command = leadvault(&["serve", "--listen", "127.0.0.1:0", "--database-url", &url]);
    command.args(tls_flags(&workspace, &authority));
    command.args(["--clients", &clients, "--tls-client-ca", &ca]);
    let service = Service::start(command).await;
    let endpoint = service.endpoint().replace("127.0.0.1", "localhost");
    let rows: String = (0..50)
        .map(|n| row(&format!("p{n}@x.example")) + "\n")
        .collect();
    let rows = workspace.file("rows.ndjson", rows);
    let at = ["--endpoint", &endpoint, "--ca", &ca];
    let load = [
        &["load", &rows, "--source", "apollo", "--batch-id", "b"],
        &at[..],
    ]
    .concat();

    let loaded = run(&[&load[..], &["--token-file", &loader]].concat())
        .await
        .ok();
    assert!(loaded.contains("50"), "{loaded}");

    // By a certificate, as another client.
    let signed = authority.sign(Some("promoter"), &[]);
    let certificate = workspace.file("promoter.pem", signed.certificate);
    let key = workspace.file("promoter.key", signed.key);
    let by_certificate = [&at[..], &["--certificate", &certificate, "--key", &key]].concat();
    run(&[&["promote"], &by_certificate[..]].concat())
        .await
        .ok();
    let report = [&["report", "funnel"], &at[..], &["--token-file", &reader]].concat();
    let funnel = run(&report).await.ok();
    assert!(funnel.contains("contacts"), "{funnel}");

    // Every refusal is final, and says what to do.
    let stranger = workspace.file("stranger.pem", Authority::new().pem());
    let with_ca = |ca| {
        let rows = ["load", &rows, "--source", "apollo", "--batch-id", "another"];
        [&rows[..], &["--endpoint", &endpoint, "--ca", ca]].concat()
    };
    let load = with_ca(&ca);
    for (command, says) in [
        (load.clone(), ["NO_CREDENTIALS", "--token"]),
        (
            [&load[..], &["--token", "lv_wrong"]].concat(),
            ["INVALID_TOKEN", "--token"],
        ),
        (
            [&load[..], &["--token-file", &reader]].concat(),
            ["PERMISSION_DENIED", "loader or operator or admin"],
        ),
        (with_ca(&stranger), ["UnknownIssuer", "--ca"]),
    ] {
        let said = run(&command).await.failed(1);
        assert!(
            says.iter().all(|text| said.contains(text)),
            "{command:?}: {said}"
        );
        assert!(!said.contains("lv_wrong"), "{said}");
    }
    assert!(service.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_before_anything_is_sent() {
    let workspace = Workspace::new();
    let signed = Authority::new().server();
    let certificate = workspace.file("c.pem", signed.certificate);
    let spaces = workspace.file("spaces", "two words");
    for (flags, says) in [
        (&["--ca", &certificate][..], "https://"),
        (&["--token", ""], "--token"),
        (&["--token-file", &spaces], "--token-file"),
        (&["--token-file", "/no/such/file"], "--token-file"),
        (
            &["--endpoint", "https://localhost:1", "--ca", &spaces],
            "--ca",
        ),
    ] {
        let said = run(&[&["report", "funnel"], flags].concat())
            .await
            .failed(1);
        assert!(said.contains(says), "{flags:?}: {said}");
    }
    for name in ["system", "Anonymous", "two words", " ", "#x"] {
        let said = run(&["token", "new", "--name", name, "--role", "reader"])
            .await
            .failed(2);
        assert!(said.contains("--name"), "{name}: {said}");
    }
    run(&["token", "new", "--name", "x", "--role", "boss"])
        .await
        .failed(2);

    // In the environment, where no other user of the machine reads it.
    let mut command = leadvault(&["report", "funnel"]);
    command.env("LEADVAULT_TOKEN", "two words");
    let said = Running::spawn(command).finish().await.failed(1);
    assert!(
        said.contains("--token") && !said.contains("two words"),
        "{said}"
    );
}
