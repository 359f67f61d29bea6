//! `ListSuppressions`.

use leadvault::proto::vault::v1::{
    Channel, ListSuppressionsRequest, ListSuppressionsResponse, SuppressionReason as Reason,
};
use tonic::Code;

use super::{Entry, entry, lift, scoped, suppress, vault};
use crate::harness::{App, assert_field, refused, until};

async fn list(app: &App, request: ListSuppressionsRequest) -> ListSuppressionsResponse {
    let answer = vault(app).await.list_suppressions(request).await;
    answer.unwrap().into_inner()
}

async fn ids(app: &App, request: ListSuppressionsRequest) -> Vec<i64> {
    let entries = list(app, request).await.suppressions.into_iter();
    entries.map(|entry| entry.suppression_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_are_set_must_all_hold() {
    let app = App::start().await;
    suppress(
        &app,
        vec![
            entry("a@x.example", Reason::Unsubscribed),
            entry("a@x.example", Reason::Bounced),
            scoped("a@x.example", Channel::Phone, Reason::Bounced),
            entry("b@x.example", Reason::Bounced),
        ],
    )
    .await;
    lift(&app, "b@x.example", Channel::All, "e").await.unwrap();
    let all = ListSuppressionsRequest::default;
    assert_eq!(ids(&app, all()).await, [1, 2, 3]);
    let show_lifted = true;
    assert_eq!(
        ids(
            &app,
            ListSuppressionsRequest {
                show_lifted,
                ..all()
            }
        )
        .await,
        [1, 2, 3, 4]
    );
    let email = "A@X.example".to_owned();
    let reason = Reason::Bounced.into();
    let scope = Channel::Phone.into();
    assert_eq!(
        ids(
            &app,
            ListSuppressionsRequest {
                email,
                reason,
                ..all()
            }
        )
        .await,
        [2, 3]
    );
    assert_eq!(
        ids(
            &app,
            ListSuppressionsRequest {
                scope,
                reason,
                ..all()
            }
        )
        .await,
        [3]
    );
    let scope = Channel::All.into();
    let bounced = ListSuppressionsRequest {
        scope,
        reason,
        show_lifted,
        ..all()
    };
    assert_eq!(
        ids(&app, bounced).await,
        [2, 4],
        "all channels is a scope, not every scope"
    );
    let first = &list(&app, all()).await.suppressions[0];
    assert_eq!(
        (
            first.email.as_str(),
            first.evidence.as_str(),
            first.actor.as_str()
        ),
        ("a@x.example", "said so", "anonymous")
    );
    assert_eq!(
        (first.scope(), first.reason()),
        (Channel::All, Reason::Unsubscribed)
    );
    assert!(first.create_time.is_some() && first.lift_time.is_none());

    let mut client = vault(&app).await;
    for (request, field) in [
        (
            ListSuppressionsRequest {
                email: "a".into(),
                ..all()
            },
            "email",
        ),
        (ListSuppressionsRequest { scope: 9, ..all() }, "scope"),
        (ListSuppressionsRequest { reason: 9, ..all() }, "reason"),
        (
            ListSuppressionsRequest {
                page_size: -1,
                ..all()
            },
            "page_size",
        ),
    ] {
        assert_field(client.list_suppressions(request).await, field);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_each_entry_once_while_others_enter_and_lift() {
    let app = App::start().await;
    let some = |numbers: std::ops::Range<usize>| -> Vec<Entry> {
        let email = |n| format!("p{n}@x.example");
        numbers.map(|n| entry(&email(n), Reason::Manual)).collect()
    };
    suppress(&app, some(0..20)).await;
    let mut request = ListSuppressionsRequest {
        page_size: 7,
        show_lifted: true,
        ..Default::default()
    };
    let mut seen = Vec::new();
    for page in 0.. {
        let answer = list(&app, request.clone()).await;
        seen.extend(answer.suppressions.iter().map(|entry| entry.suppression_id));
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        lift(&app, &format!("p{page}@x.example"), Channel::All, "e")
            .await
            .unwrap();
        if page < 2 {
            suppress(&app, some(100 + page..101 + page)).await;
        }
    }
    assert_eq!(seen, (1..=22).collect::<Vec<i64>>());

    request = ListSuppressionsRequest {
        page_size: 7,
        ..Default::default()
    };
    request.page_token = list(&app, request.clone()).await.next_page_token;
    request.show_lifted = true;
    let refusal = refused(vault(&app).await.list_suppressions(request).await);
    refusal.is(Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_at_two_mebibytes() {
    let app = App::start().await;
    let mut entries = Vec::new();
    for n in 0..1_000 {
        let mut entry = entry(
            &format!("{n}{}@{}.example", "a".repeat(60), "b".repeat(63)),
            Reason::Manual,
        );
        entry.evidence = "e".repeat(1_000);
        entries.push(entry);
    }
    suppress(&app, entries.clone()).await;
    entries
        .iter_mut()
        .for_each(|entry| entry.scope = Channel::Email.into());
    suppress(&app, entries).await;
    app.sql()
        .await
        .run("UPDATE vault.suppressions SET lifted_at = created_at, lifted_by = 'me', lift_evidence = repeat('l', 1000)")
        .await;
    let mut request = ListSuppressionsRequest {
        page_size: 1_000,
        show_lifted: true,
        ..Default::default()
    };
    let mut seen = 0;
    loop {
        let page = list(&app, request.clone()).await;
        assert!(prost::Message::encoded_len(&page) < 3 * 1024 * 1024);
        seen += page.suppressions.len();
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 2_000);
    app.stop().await;
}

/// Whether a list was read from an index: the counts arrive once the server's connections are closed.
async fn reads(request: ListSuppressionsRequest, index: &str) {
    let app = App::start().await;
    let sql = app.sql().await;
    // What is looked for comes in one piece, behind everything else.
    sql.run(
        "INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by, lifted_at, lifted_by, lift_evidence)
         SELECT n || '@x.example', 'all', 'manual', '', 'me', now(), 'me', 'e' FROM generate_series(1, 10000) AS n;
         INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by)
         SELECT n || '@x.example', 'all', 'manual', '', 'me' FROM generate_series(1, 10000) AS n;
         INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by)
         SELECT n || '@x.example', 'phone', 'legal', '', 'me' FROM generate_series(1, 5000) AS n;
         ANALYZE vault.suppressions",
    )
    .await;
    let all = ids(&app, request.clone()).await;
    assert_eq!(all.len(), 50);
    let mut rest = request;
    rest.page_token = list(&app, rest.clone()).await.next_page_token;
    assert_eq!(ids(&app, rest).await[0], all[49] + 1);
    app.stop().await;
    until(index, async || {
        let query = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = $1";
        let scans: i64 = sql.one(query, &[&index]).await;
        (scans >= 3).then_some(())
    })
    .await;
    let query = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = $1";
    let read: i64 = sql.one(query, &[&index]).await;
    assert!(read < 1_000, "{read} entries of {index} were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_is_found_by_an_index() {
    let all = ListSuppressionsRequest::default;
    let legal = ListSuppressionsRequest {
        reason: Reason::Legal.into(),
        ..all()
    };
    let phone = ListSuppressionsRequest {
        scope: Channel::Phone.into(),
        ..all()
    };
    reads(legal, "idx_suppressions_reason").await;
    reads(phone, "idx_suppressions_scope").await;
    reads(all(), "idx_suppressions_in_force_id").await;
}
