//! Point reads share connections: what that must not cost their callers.

use std::time::Duration;

use futures_util::future::join_all;
use leadvault::proto::vault::v1::GetContactRequest;
use tonic::{Code, Request};

use super::{by_email, by_id, change, make, read, vault};
use crate::harness::{App, Sql, refused, until};

/// Reads contacts all at once, each by the channel that all share; the name of each that there is.
async fn read_at_once(app: &App, emails: &[String]) -> Vec<Option<String>> {
    let client = vault(app).await;
    let reads = emails.iter().map(|email| {
        let (mut client, key) = (client.clone(), by_email(email));
        async move {
            match client.get_contact(GetContactRequest { key }).await {
                Ok(response) => Some(response.into_inner().contact.unwrap().email),
                Err(status) => {
                    assert_eq!(status.code(), Code::NotFound, "{status}");
                    None
                }
            }
        }
    });
    join_all(reads).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_callers_gets_its_own_contact() {
    let app = App::start().await;
    make(&app.sql().await, 50).await;
    // Some ask for the same one, some for none.
    let emails: Vec<String> = (0..300)
        .map(|n| format!("c{:05}@x.example", n % 60 + 1))
        .collect();
    let found = read_at_once(&app, &emails).await;
    for (asked, found) in emails.iter().zip(found) {
        let there = asked[1..]
            .split('@')
            .next()
            .unwrap()
            .parse::<i64>()
            .unwrap()
            <= 50;
        assert_eq!(found.as_ref(), there.then_some(asked));
    }
    app.stop().await;
}

/// Every connection of the pool waits for a lock, and reads by key go on.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_do_not_hold_up_point_reads() {
    let app = App::start_with(&["--pool-size", "2"]).await;
    let sql = app.sql().await;
    let ids = make(&sql, 3).await;
    let mut stuck = Vec::new();
    for contact_id in &ids[..2] {
        let mut contact = read(&app, *contact_id).await;
        contact.title = "waits".into();
        stuck.push(change(&contact, &["title"]));
    }
    let holder = app.sql().await;
    holder
        .run("BEGIN; SELECT FROM vault.contacts FOR UPDATE")
        .await;
    let client = vault(&app).await;
    let updates = stuck.into_iter().map(|request| {
        let mut client = client.clone();
        async move { client.update_contact(request).await }
    });
    let updates = tokio::spawn(join_all(updates.map(tokio::spawn)));
    until("both updates to wait for the lock", async || {
        let waiting: i64 = sql
            .one(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
                &[],
            )
            .await;
        (waiting == 2).then_some(())
    })
    .await;
    assert_eq!(read(&app, ids[2]).await.contact_id, ids[2]);
    holder.run("COMMIT").await;
    for update in updates.await.unwrap() {
        update.unwrap().unwrap();
    }
    app.stop().await;
}

/// Ends the connections that point reads share; how many there were.
async fn strike(sql: &Sql) -> i64 {
    sql.one(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend'
                  AND pid <> pg_backend_pid()",
        &[],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_fail_no_point_read() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = make(&sql, 20).await;
    let emails: Vec<String> = (1..=20).map(|n| format!("c{n:05}@x.example")).collect();
    for _ in 0..10 {
        let reads = read_at_once(&app, &emails);
        let (found, _) = tokio::join!(reads, strike(&sql));
        assert!(found.iter().all(Option::is_some), "{found:?}");
    }
    // And with nobody on them.
    read(&app, ids[0]).await;
    assert!(strike(&sql).await > 0);
    assert_eq!(read(&app, ids[0]).await.contact_id, ids[0]);
    let request = GetContactRequest { key: by_id(9_999) };
    refused(vault(&app).await.get_contact(request).await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}

/// PostgreSQL's processes that the service is connected to.
async fn processes(sql: &Sql) -> Vec<i32> {
    let pids = "SELECT pid FROM pg_stat_activity
                WHERE datname = current_database() AND backend_type = 'client backend'
                  AND pid <> pg_backend_pid() ORDER BY pid";
    let found = sql.rows(pids, &[]).await;
    found.iter().map(|row| row.get(0)).collect()
}

/// Its answer came, and nobody was there to hear it: that is no silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_was_given_up_costs_no_connection() {
    // As long as a connection may owe answers, and some more.
    const SILENCE: Duration = Duration::from_secs(8);
    let app = App::start().await;
    let (sql, holder) = (app.sql().await, app.sql().await);
    let ids = make(&sql, 2).await;
    for _ in 0..3 {
        read(&app, ids[0]).await;
    }
    holder.run("BEGIN; LOCK TABLE vault.contacts").await;
    let client = vault(&app).await;
    let given_up = ids.iter().map(|contact_id| {
        let (mut client, key) = (client.clone(), by_id(*contact_id));
        let mut request = Request::new(GetContactRequest { key });
        request.set_timeout(Duration::from_secs(1));
        async move { client.get_contact(request).await }
    });
    for answer in join_all(given_up).await {
        // Cancelled where the client's own clock was earlier.
        let code = answer.unwrap_err().code();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&code));
    }
    holder.run("COMMIT").await;
    let before = processes(&sql).await;
    tokio::time::sleep(SILENCE).await;
    read_at_once(
        &app,
        &["c00001@x.example".into(), "c00002@x.example".into()],
    )
    .await;
    assert_eq!(processes(&sql).await, before);
    app.stop().await;
}
