//! Settings: how they are written, and that who starts a service again and again is told where that cannot help.

use tokio::process::Command;

use crate::harness::{Ran, Running, Workspace, free_port, leadvault, run};

/// A service that will not come far: its URL is none.
fn hopeless(variables: &[(&str, &str)]) -> Command {
    let mut command = leadvault(&["serve", "--listen", "0.0.0.0:0", "--database-url", "none"]);
    command.envs(variables.iter().copied());
    command
}

async fn ended(variables: &[(&str, &str)]) -> Ran {
    Running::spawn(hopeless(variables)).finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_or_off_is_written_as_one_likes() {
    for on in ["on", "true", "1", "yes"] {
        let said = ended(&[("LEADVAULT_INSECURE", on), ("LEADVAULT_LOG_JSON", on)]).await;
        let said = said.failed(2);
        assert!(said.contains("database URL cannot be used"), "{on}: {said}");
        assert!(said.contains("{\"timestamp\""), "{on}: {said}");
    }
    for off in ["off", "false", "0", "no"] {
        let said = ended(&[("LEADVAULT_INSECURE", off), ("LEADVAULT_LOG_JSON", off)]).await;
        let said = said.failed(2);
        assert!(said.contains("or say --insecure"), "{off}: {said}");
    }
    let json = ended(&[("LEADVAULT_INSECURE", "on"), ("LEADVAULT_LOG_JSON", "off")]).await;
    assert!(!json.failed(2).contains("{\"timestamp\""));
    let nonsense = ended(&[("LEADVAULT_INSECURE", "perhaps")]).await;
    assert!(nonsense.failed(2).contains("--insecure"));
}

/// The unit has `RestartPreventExitStatus=2`.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_hand_mends_ends_with_code_2_and_what_may_pass_with_1() {
    let workspace = Workspace::new();
    let none = workspace.path("none").to_str().unwrap().to_owned();
    let bad = workspace.file("bad", "nothing of this kind\n");
    let url = format!("postgresql://u@127.0.0.1:{}/d", free_port());
    let ca = format!("postgresql://u@db.example/d?sslmode=require&sslrootcert={none}");
    let cases: [(&[&str], i32); 7] = [
        (&["--database-url", "nonsense"], 2),
        (&["--database-url", &ca], 2),
        (&["--database-url", &url, "--log", "in=fo=x"], 2),
        (&["--database-url", &url, "--clients", &bad], 2),
        (&["--database-url", &url, "--clients", &none], 2),
        (
            &[
                "--database-url",
                &url,
                "--tls-certificate",
                &bad,
                "--tls-key",
                &bad,
            ],
            2,
        ),
        // It may come yet.
        (&["--database-url", &url], 1),
    ];
    for (flags, code) in cases {
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        let said = run(&[&serve, flags].concat()).await.failed(code);
        assert!(said.contains("error: "), "{flags:?}: {said}");
    }
}
