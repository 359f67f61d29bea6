//! People and their companies: in both orders, at once, and never by free mail.

use leadvault::proto::people::v1::{
    Person, PromotePeopleRequest, StagePeopleRequest, UpdatePersonRequest,
};
use serde_json::json;

use super::{
    bring, change, history_of, make_company, people, person, promote, promote_all, rows, stage,
    update,
};
use crate::harness::{App, Sql};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_linked_by_website_then_by_mail() {
    let app = App::start().await;
    let sql = app.sql().await;
    let acme = make_company(&sql, "acme.io").await;
    let foo = make_company(&sql, "foo.github.io").await;
    make_company(&sql, "gmail.com").await;
    make_company(&sql, "github.io").await;
    stage(
        &app,
        rows(&[
            json!({"email": "a@acme.io"}),
            json!({"email": "b@acme.io", "website": "https://www.foo.github.io/about"}),
            json!({"email": "c@acme.io", "website": "https://nobody.example"}),
            json!({"email": "d@gmail.com"}),
            json!({"email": "e@gmail.com", "website": "HTTP://ACME.io"}),
            json!({"email": "f@gmail.com", "website": "gmail.com"}),
            json!({"email": "g@sub.acme.io", "website": "http://github.io"}),
        ]),
    )
    .await;
    let message = promote(&app, PromotePeopleRequest::default()).await;
    assert_eq!((message.promoted, message.people_linked), (7, 4));
    for (email, company) in [
        ("a@acme.io", acme.as_str()),
        ("b@acme.io", &foo),
        ("c@acme.io", &acme),
        ("d@gmail.com", ""),
        ("e@gmail.com", &acme),
        ("f@gmail.com", ""),
        ("g@sub.acme.io", ""),
    ] {
        assert_eq!(person(&app, email).await.company_id, company, "{email}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_comes_later_finds_its_people() {
    let app = App::start().await;
    let sql = app.sql().await;
    stage(
        &app,
        rows(&[
            json!({"email": "a@acme.io"}),
            json!({"email": "b@gmail.com", "website": "www.acme.io"}),
            json!({"email": "c@gmail.com"}),
            json!({"email": "d@acme.io"}),
        ]),
    )
    .await;
    promote_all(&app).await;
    // Somebody said that there is no company.
    let pinned = person(&app, "d@acme.io").await;
    update(&app, change(&pinned, &["company_id"])).await;

    make_company(&sql, "gmail.com").await;
    let acme = make_company(&sql, "acme.io").await;
    for (email, company) in [
        ("a@acme.io", acme.as_str()),
        ("b@gmail.com", &acme),
        ("c@gmail.com", ""),
        ("d@acme.io", ""),
    ] {
        assert_eq!(person(&app, email).await.company_id, company, "{email}");
    }
    let entries = history_of(&app, "a@acme.io").await;
    assert_eq!(entries[1].changed_fields, ["company_id"]);

    // Promoted again, pinned ones stay and linked ones have nothing new.
    let row = json!({"email": "d@acme.io", "title": "CTO"});
    assert_eq!(bring(&app, "crm", row).await, [0, 1, 0, 0]);
    assert_eq!(person(&app, "d@acme.io").await.company_id, "");
    app.stop().await;
}

/// A slot brings a website for which there is a company already.
#[tokio::test(flavor = "multi_thread")]
async fn a_website_that_comes_later_links() {
    let app = App::start().await;
    let acme = make_company(&app.sql().await, "acme.io").await;
    bring(&app, "apollo", json!({"email": "a@gmail.com"})).await;
    assert_eq!(person(&app, "a@gmail.com").await.company_id, "");
    bring(
        &app,
        "crm",
        json!({"email": "a@gmail.com", "website": "acme.io"}),
    )
    .await;
    assert_eq!(person(&app, "a@gmail.com").await.company_id, acme);
    app.stop().await;
}

/// People and companies that arrive at the same moment find each other, whoever commits first.
#[tokio::test(flavor = "multi_thread")]
async fn people_and_companies_that_arrive_at_once_are_linked() {
    const COMPANIES: usize = 60;
    let app = App::start().await;
    for batch in 0..4 {
        let values: Vec<_> = (0..COMPANIES * 4)
            .map(|n| json!({"email": format!("p{batch}-{n}@c{}.example", n % COMPANIES)}))
            .collect();
        let request = StagePeopleRequest {
            batch_id: format!("b{batch}"),
            ..rows(&values)
        };
        stage(&app, request).await;
    }
    let mut work = tokio::task::JoinSet::new();
    for batch in 0..4 {
        let mut client = people(&app).await;
        let request = PromotePeopleRequest {
            batch_id: format!("b{batch}"),
            ..Default::default()
        };
        work.spawn(async move {
            let mut stream = client.promote_people(request).await.unwrap().into_inner();
            while stream.message().await.unwrap().is_some() {}
        });
    }
    for writer in 0..3 {
        let sql = Sql::connect(&app.url).await;
        work.spawn(async move {
            for n in (writer..COMPANIES).step_by(3) {
                make_company(&sql, &format!("c{n}.example")).await;
            }
        });
    }
    work.join_all().await;
    let sql = app.sql().await;
    let unlinked: i64 = sql
        .one(
            "SELECT count(*) FROM people.master AS p
             LEFT JOIN company.master AS c ON c.id = p.company_id
             WHERE c.domain IS DISTINCT FROM split_part(p.email, '@', 2)",
            &[],
        )
        .await;
    assert_eq!(unlinked, 0);
    let all: i64 = sql.one("SELECT count(*) FROM people.master", &[]).await;
    assert_eq!(all, 4 * 4 * COMPANIES as i64);
    app.stop().await;
}

/// Who says that the company is the service's to say again, gets the one that there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_is_unpinned_is_linked_again() {
    let app = App::start().await;
    let sql = app.sql().await;
    let acme = make_company(&sql, "acme.io").await;
    let other = make_company(&sql, "other.io").await;
    bring(&app, "apollo", json!({"email": "a@acme.io"})).await;
    let linked = person(&app, "a@acme.io").await;
    let mut none = linked.clone();
    none.company_id = String::new();
    let none = update(&app, change(&none, &["company_id"])).await;
    assert_eq!(
        (none.company_id.as_str(), none.pinned_fields.len()),
        ("", 1)
    );
    let unpin = |person: &Person| UpdatePersonRequest {
        unpin: vec!["company_id".into()],
        ..change(person, &[])
    };
    let again = update(&app, unpin(&none)).await;
    assert_eq!(
        (again.company_id.as_str(), again.pinned_fields.len()),
        (acme.as_str(), 0)
    );
    let entries = history_of(&app, "a@acme.io").await;
    assert_eq!(
        entries.last().unwrap().changed_fields,
        ["company_id", "pinned_fields"]
    );

    // One that was given by hand stays.
    let mut given = again.clone();
    given.company_id = other.clone();
    let given = update(&app, change(&given, &["company_id"])).await;
    assert_eq!(update(&app, unpin(&given)).await.company_id, other);
    app.stop().await;
}
