//! People who wait for their company are linked when it is made.

use leadvault::proto::company::v1::PromoteCompaniesRequest;
use serde_json::json;

use super::{get, promote, stage};
use crate::harness::{App, fresh_database, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_comes_after_its_people_links_them() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO people.master (email, company_domains, pinned_fields) VALUES
             ('one@x.com', '{acme.com}', '{}'), ('two@x.com', '{foo.com,acme.com}', '{}'),
             ('none@x.com', '{other.com}', '{}'), ('pinned@x.com', '{acme.com}', '{company_id}')",
    )
    .await;
    stage(
        &app,
        "x",
        &[json!({"domain": "acme.com"}), json!({"domain": "foo.com"})],
    )
    .await;
    let done = promote(&app, PromoteCompaniesRequest::default()).await;
    assert_eq!((done.promoted, done.people_linked), (2, 2));
    let (acme, foo) = (get(&app, "acme.com").await, get(&app, "foo.com").await);
    let linked = sql
        .rows(
            "SELECT email, coalesce(company_id::text, '') FROM people.master ORDER BY email",
            &[],
        )
        .await;
    let linked: Vec<(String, String)> = linked.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("none@x.com", ""),
        ("one@x.com", acme.company_id.as_str()),
        ("pinned@x.com", ""),
        ("two@x.com", foo.company_id.as_str()),
    ];
    assert_eq!(
        linked,
        expected.map(|(email, id)| (email.to_owned(), id.to_owned()))
    );
    // Also by a company that somebody makes by hand, as the service's role.
    app.sql_as_app()
        .await
        .run("INSERT INTO company.master (domain) VALUES ('other.com')")
        .await;
    let waiting: i64 = sql
        .one(
            "SELECT count(*) FROM people.master WHERE company_id IS NULL AND email = 'none@x.com'",
            &[],
        )
        .await;
    assert_eq!(waiting, 0);
    app.stop().await;
}

/// More people wait for a company than one statement writes: the sweep goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_very_many_wait_for_is_linked_in_chunks() {
    const PEOPLE: i64 = 17_000;
    let url = fresh_database().await;
    let app = App::start_on(url.clone(), &["--sweep-period", "86400"]).await;
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO people.master (email, company_domains, pinned_fields)
         SELECT format('p%s@acme.com', n), '{acme.com}', CASE WHEN n = 0 THEN '{company_id}' ELSE '{}' END::text[]
         FROM generate_series(0, 17000) AS n",
    )
    .await;
    stage(
        &app,
        "x",
        &[json!({"domain": "acme.com"}), json!({"domain": "foo.com"})],
    )
    .await;
    let done = promote(&app, PromoteCompaniesRequest::default()).await;
    assert_eq!((done.promoted, done.people_linked), (2, 10_000));
    app.stop().await;

    let app = App::start_on(url, &["--sweep-period", "0.05"]).await;
    let linked =
        "SELECT count(*) FROM people.master AS p JOIN company.master AS c ON c.id = p.company_id
                  WHERE c.domain = 'acme.com'";
    until("all are linked", async || {
        (sql.one::<i64>(linked, &[]).await == PEOPLE).then_some(())
    })
    .await;
    until("no company is left", async || {
        let left = "SELECT count(*) FROM company.master WHERE people_waiting";
        (sql.one::<i64>(left, &[]).await == 0).then_some(())
    })
    .await;
    assert_eq!(
        sql.one::<i64>(linked, &[]).await,
        PEOPLE,
        "not the pinned one"
    );
    let twice = "SELECT count(*) FROM people.history WHERE changed_fields ? 'company_id' AND old_values <> '{}'";
    assert_eq!(sql.one::<i64>(twice, &[]).await, PEOPLE, "each once");
    app.stop().await;
}
