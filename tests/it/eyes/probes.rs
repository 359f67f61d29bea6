//! `/healthz` and `/readyz`.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::cluster_of_its_own;
use crate::harness::{App, until};

/// It asks the database each time, which a busy machine may not answer within a second.
async fn until_ready(app: &App) {
    until("ready", async || {
        let answer = app.page("/readyz").await;
        (answer == (200, "ready\n".to_owned())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_calls_is_alive_and_ready() {
    let app = App::start().await;
    assert_eq!(app.page("/healthz").await, (200, "ok\n".to_owned()));
    until_ready(&app).await;
    assert_eq!(app.page("/nowhere").await.0, 404);
    app.stop().await;
}

/// A stranger's page whose name was made to point here asks by that name (DNS rebinding).
#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_a_request_for_another_machine_is_refused() {
    let app = App::start().await;
    let port = app.ops_address().port();
    for (host, status) in [
        (format!("evil.example:{port}"), "421"),
        ("evil.example".to_owned(), "421"),
        (format!("localhost:{port}"), "200"),
        (format!("[::1]:{port}"), "200"),
        ("10.1.2.3".to_owned(), "200"),
    ] {
        for path in ["/status", "/metrics", "/healthz", "/readyz"] {
            let mut connection = TcpStream::connect(app.ops_address()).await.unwrap();
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            connection.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.unwrap();
            let said = answer.split(' ').nth(1);
            // Let in, and not ready: the database of a busy machine.
            let is_not_ready = (path, status, said) == ("/readyz", "200", Some("503"));
            assert!(
                said == Some(status) || is_not_ready,
                "{host} {path}: {said:?}"
            );
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_it_is_alive_and_counts_and_is_not_ready() {
    let (cluster, url) = cluster_of_its_own().await;
    let app = App::start_on(url, &[]).await;
    until_ready(&app).await;
    let seen = [
        "\nleadvault_database_up 1\n",
        "\nleadvault_queue_depth{queue=\"loads\",state=\"pending\"} 0\n",
    ];
    until("the metrics of the database", async || {
        let (_, text) = app.page("/metrics").await;
        seen.iter().all(|line| text.contains(line)).then_some(())
    })
    .await;

    cluster.stop().await.unwrap();
    let (status, why) = until("not ready", async || {
        Some(app.page("/readyz").await).filter(|(status, _)| *status != 200)
    })
    .await;
    assert_eq!(status, 503);
    assert!(why.contains("database"), "{why}");
    assert_eq!(app.page("/healthz").await.0, 200);
    let (status, text) = app.page("/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("\nleadvault_database_up 0\n"), "{text}");
    app.stop().await;
}
