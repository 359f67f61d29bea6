//! `leadvault token new` with files: both are right, or nothing has changed.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use crate::harness::{Ran, Running, Workspace, leadvault, run};

/// Makes a token of `crm-sync`, as a loader.
async fn enter(clients: &str, token_file: &str) -> Ran {
    let args = ["token", "new", "--name", "crm-sync", "--role", "loader"];
    let files = ["--clients", clients, "--token-file", token_file];
    run(&[&args[..], &files].concat()).await
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_entered_and_its_token_is_for_its_owner_alone() {
    let workspace = Workspace::new();
    let token = workspace.path("crm.token");
    let token = token.to_str().unwrap();
    let hash = "0".repeat(64);
    // The last line has no end.
    let first = format!("# who may call\nanna admin sha256:{hash}");
    let clients = workspace.file("clients", &first);
    let said = enter(&clients, token).await.ok();
    assert!(said.contains("crm-sync (loader)"), "{said}");
    let text = std::fs::read_to_string(&clients).unwrap();
    let line = text.strip_prefix(&format!("{first}\n")).unwrap();
    assert!(line.starts_with("crm-sync loader sha256:"), "{text}");
    assert!(line.ends_with('\n') && line.lines().count() == 1, "{text}");
    assert_eq!(mode(token), 0o600);
    let secret = std::fs::read_to_string(token).unwrap();
    assert!(secret.starts_with("lv_") && secret.ends_with('\n'));
    assert!(!said.contains(secret.trim()), "{said}");

    // A new file of clients; the service takes both.
    let (made, other) = (workspace.path("made"), workspace.path("other.token"));
    let (made, other) = (made.to_str().unwrap(), other.to_str().unwrap());
    enter(made, other).await.ok();
    for clients in [clients.as_str(), made] {
        let listen = ["serve", "--listen", "127.0.0.1:0", "--clients", clients];
        let mut serve = leadvault(&listen);
        serve.env("DATABASE_URL", "none");
        let said = Running::spawn(serve).finish().await;
        assert!(said.failed(2).contains("database URL"), "{clients}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_changes_nothing() {
    let workspace = Workspace::new();
    let token = workspace.path("crm.token");
    let taken = workspace.file("taken.token", "mine");
    let hash = "0".repeat(64);
    let nowhere = workspace.path("no/where").to_str().unwrap().to_owned();
    let known = format!("crm-sync reader sha256:{hash}\n");
    let other = format!("anna admin sha256:{hash}\n");
    let file = token.to_str().unwrap();
    for (before, token_file, says) in [
        (known.as_str(), file, "crm-sync is in it already"),
        ("anna boss\n", file, "line 1"),
        (&other, &taken, "exists"),
        (&other, &nowhere, "No such file"),
    ] {
        let clients = workspace.file("clients", before);
        let said = enter(&clients, token_file).await.failed(2);
        assert!(said.contains(says), "{says} in {said}");
        assert_eq!(std::fs::read_to_string(&clients).unwrap(), before);
        assert!(!Path::new(file).exists());
        assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
    }
    let one = ["token", "new", "--name", "x", "--role", "admin"];
    let said = run(&[&one[..], &["--clients", "clients"]].concat()).await;
    assert!(said.failed(2).contains("--token-file"));
}
