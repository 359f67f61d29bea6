//! The command line as people type it: the real binary, what it prints, and how it ends.

mod doctor;
mod golden;
mod load;
mod promote;
mod report;
mod settings;
mod token;

use std::net::TcpListener;

use nix::sys::signal::Signal;
use tokio_postgres::NoTls;

use crate::harness::{Running, Sql, Workspace, empty_database, leadvault, run, until};

#[tokio::test(flavor = "multi_thread")]
async fn help_teaches() {
    let help = run(&["--help"]).await.ok();
    for (subcommand, says) in [
        ("serve", "--listen"),
        ("migrate", "--database-url"),
        ("load", "--preset apollo"),
        ("demo", "--exit"),
        ("promote", "--from-vault"),
        ("suppress", "--allow-invalid"),
        ("export", "--updated-before"),
        ("report", "campaigns --status active"),
        ("token", "new"),
        ("doctor", "--json"),
    ] {
        assert!(help.contains(subcommand), "{help}");
        let help = run(&[subcommand, "--help"]).await.ok();
        assert!(
            help.contains("Usage: leadvault ") && help.contains(says),
            "{help}"
        );
        assert!(run(&["help", subcommand]).await.ok().contains(says));
    }
    assert!(
        run(&["migrate", "down", "--help"])
            .await
            .ok()
            .contains("COUNT")
    );
    assert!(run(&["--version"]).await.ok().starts_with("leadvault "));
    assert!(run(&["lode"]).await.failed(2).contains("load"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_the_same_each_time() {
    let workspace = Workspace::new();
    let first = demo(&workspace).await;
    let second = demo(&workspace).await;
    let table = numbers(&first);
    assert_eq!(table, numbers(&second));
    assert_eq!(table[0], ["received", "600"]);
    let count = |name: &str| -> u64 {
        let row = table.iter().find(|row| row[0] == name).unwrap();
        row[1].parse().unwrap()
    };
    let [accepted, duplicate, rejected] = ["accepted", "duplicate", "rejected"].map(count);
    assert!(duplicate > 0 && rejected > 0);
    assert_eq!(accepted + duplicate + rejected, 600);

    assert_eq!(count("rows received"), 600);
    assert_eq!(count("rows accepted"), accepted);
    let [contacts, slots, people] = ["contacts", "person slots", "people"].map(|name| {
        let funnel = first.split_once("from row to conversion").unwrap().1;
        let row = numbers(funnel).into_iter().find(|row| row[0] == name);
        row.unwrap()[1].parse::<u64>().unwrap()
    });
    assert_eq!([contacts, slots, people], [accepted; 3]);
    assert!(count("messages sent") > people && count("messages held back by the gate") > 0);
    assert!(count("companies") > 1 && count("people linked to a company") > 0);

    let (_, next) = first.split_once("Try next:\n").unwrap();
    let methods: Vec<&str> = next.lines().map(grpcurl_method).collect();
    assert_eq!(
        methods,
        [
            "intake.v1.IntakeService/GetBatch",
            "intake.v1.IntakeService/ListRejectedRows",
            "intake.v1.IntakeService/TraceRow",
            "company.v1.CompanyService/GetCompany",
            "people.v1.PeopleService/ListPeople",
            "marketing.v1.MarketingService/GetAttributionReport",
        ]
    );
    assert_eq!(workspace.postmaster(), None, "its PostgreSQL runs on");
}

async fn demo(workspace: &Workspace) -> String {
    let mut command = leadvault(&["demo", "--exit", "--rows", "600", "--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(workspace.data_dir());
    Running::spawn(command).finish().await.ok()
}

/// Ctrl-C before there is anything to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_interrupted_stops_its_postgresql() {
    let workspace = Workspace::new();
    let mut command = leadvault(&["demo", "--rows", "100000", "--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(workspace.data_dir());
    let demo = Running::spawn(command);
    let socket = workspace.data_dir().join("run");
    let url = format!(
        "postgresql://postgres@/leadvault_demo?host={}",
        socket.display()
    );
    until("rows to be loaded", async || {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
        tokio::spawn(connection);
        let query = "SELECT FROM intake.raw_loads LIMIT 1";
        client.query_opt(query, &[]).await.ok()?
    })
    .await;
    demo.signal(Signal::SIGINT);
    let said = demo.finish().await.ok();
    assert!(!said.contains("Try next"), "it was not interrupted: {said}");
    assert_eq!(workspace.postmaster(), None, "its PostgreSQL runs on");
}

/// The rows of the table, without the shares.
fn numbers(text: &str) -> Vec<[String; 2]> {
    let cell = |line: &str, index| {
        let cell = line.trim_matches('│').split('┆').nth(index).unwrap();
        cell.trim().to_owned()
    };
    let rows = text.lines().filter(|line| line.starts_with('│'));
    // The first one is the header.
    rows.skip(1)
        .map(|line| [cell(line, 0), cell(line, 1)])
        .collect()
}

/// A command that can be pasted: a JSON request, an address with a port, a method of the service.
fn grpcurl_method(line: &str) -> &str {
    let rest = line.trim().strip_prefix("grpcurl -plaintext -d '").unwrap();
    let (request, rest) = rest.split_once("' ").unwrap();
    serde_json::from_str::<serde_json::Value>(request).unwrap();
    let (address, method) = rest.split_once(' ').unwrap();
    address.parse::<std::net::SocketAddr>().unwrap();
    method.strip_prefix("leadvault.").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_and_down_and_say_where_they_are() {
    let url = empty_database().await;
    let migrate = async |args: &[&str]| {
        let args = [&["migrate", "--database-url", &url], args].concat();
        run(&args).await.ok()
    };
    let count = |text: &str, word: &str| text.lines().filter(|l| l.starts_with(word)).count();

    let fresh = migrate(&["status"]).await;
    let all = count(&fresh, "pending");
    assert!(all > 0 && count(&fresh, "applied") == 0, "{fresh}");
    let up = migrate(&[]).await;
    assert_eq!(count(&up, "applied"), all, "{up}");
    let again = migrate(&["up"]).await;
    assert_eq!(again, "function layer: unchanged\n");
    let status = migrate(&["status"]).await;
    assert_eq!(count(&status, "applied"), all, "{status}");
    assert_eq!(count(&status, "pending"), 0, "{status}");

    let down = migrate(&["down", "1"]).await;
    assert_eq!(count(&down, "reverted"), 1, "{down}");
    assert!(down.contains("function layer: dropped"), "{down}");
    let not_migrated = ["serve", "--no-migrate", "--listen", "127.0.0.1:0"];
    let mut serve = leadvault(&not_migrated);
    serve.env("DATABASE_URL", &url);
    let said = Running::spawn(serve).finish().await.failed(1);
    assert!(said.contains("not migrated"), "{said}");

    let down = migrate(&["down", &(all - 1).to_string()]).await;
    assert_eq!(count(&down, "reverted"), all - 1, "{down}");
    let left: i64 = Sql::connect(&url)
        .await
        .one(
            "SELECT count(*) FROM pg_namespace WHERE nspname IN ('intake', 'vault', 'company', 'people')",
            &[],
        )
        .await;
    assert_eq!(left, 0, "down leaves schemas behind");
    assert_eq!(count(&migrate(&["up"]).await, "applied"), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    // A port that answers nobody: taken, and not listened on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let port = port.unwrap().port();
    let url = format!("postgres://me:hunter2@127.0.0.1:{port}/leads");
    let said = run(&["serve", "--database-url", &url]).await.failed(1);
    assert!(
        said.contains(&format!(
            "cannot connect to PostgreSQL at me@127.0.0.1:{port}"
        )),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}
