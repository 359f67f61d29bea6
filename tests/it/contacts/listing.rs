//! The pages of `ListContacts`: their size, their tokens, and what they show while others write.

use leadvault::proto::{
    intake::v1::ListBatchesRequest,
    vault::v1::{ContactFilter, ContactOrder, ListContactsRequest, ListContactsResponse},
};
use tonic::Code;

use super::{make, vault};
use crate::harness::{App, refused};

async fn page(app: &App, request: ListContactsRequest) -> ListContactsResponse {
    let response = vault(app).await.list_contacts(request).await.unwrap();
    response.into_inner()
}

/// Every contact of a list, page by page; `between` runs after each page.
async fn walk(
    app: &App,
    mut request: ListContactsRequest,
    mut between: impl AsyncFnMut(usize),
) -> Vec<i64> {
    let mut client = vault(app).await;
    let mut seen = Vec::new();
    for nth in 0.. {
        let page = client
            .list_contacts(request.clone())
            .await
            .unwrap()
            .into_inner();
        seen.extend(page.contacts.iter().map(|contact| contact.contact_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        between(nth).await;
    }
    seen
}

fn request(page_size: i32) -> ListContactsRequest {
    ListContactsRequest {
        page_size,
        ..Default::default()
    }
}

/// Also when many were made at the same moment, as a promotion does.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_contacts_are_each_listed_once_while_others_write() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = make(&sql, 10_000).await;
    sql.run("UPDATE vault.contacts SET created_at = to_timestamp(contact_id / 700)")
        .await;
    let seen = walk(&app, request(97), async |nth| {
        sql.run(&format!(
            "INSERT INTO vault.contacts (email, source) VALUES ('new{nth}@x.example', 'apollo');
             INSERT INTO vault.contacts (email, source, created_at)
             VALUES ('old{nth}@x.example', 'apollo', '1960-01-01');
             UPDATE vault.contacts SET updated_at = now(), score = {nth} % 100, name = '{nth}', status = 'bounced'
             WHERE contact_id % 101 = {nth} % 101"
        ))
        .await;
    })
    .await;
    let originals: Vec<i64> = seen
        .iter()
        .copied()
        .filter(|id| *id <= ids[9_999])
        .collect();
    assert_eq!(originals, ids);
    let mut unique = seen.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), seen.len(), "nothing is repeated");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_pages_through_everything_once() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = make(&sql, 200).await;
    // Many share a moment and a score.
    sql.run(
        "UPDATE vault.contacts SET created_at = to_timestamp(contact_id % 3), score = contact_id % 4 + 0.25,
                                   updated_at = to_timestamp(contact_id % 5)",
    )
    .await;
    let all = ContactFilter::default();
    let of_source = ContactFilter {
        source: "apollo".into(),
        ..Default::default()
    };
    for (order, filter) in (0..=6).flat_map(|order| [(order, &all), (order, &of_source)]) {
        let list = |page_size| ListContactsRequest {
            order_by: order,
            filter: Some(filter.clone()),
            ..request(page_size)
        };
        let whole = walk(&app, list(1_000), async |_| {}).await;
        assert_eq!(walk(&app, list(7), async |_| {}).await, whole, "{order}");
        let mut sorted = whole.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ids, "{order}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_50_contacts_unless_asked_otherwise_and_ends_at_2_mib() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1_001).await;
    for (page_size, length) in [(0, 50), (1, 1), (1_000, 1_000), (i32::MAX, 1_000)] {
        let page = page(&app, request(page_size)).await;
        assert_eq!(page.contacts.len(), length, "page_size {page_size}");
        assert_ne!(page.next_page_token, "");
    }
    sql.run(
        "UPDATE vault.contacts SET custom_fields = jsonb_build_object('a', repeat('x', 300000))
         WHERE contact_id <= 10;
         UPDATE vault.contacts SET custom_fields = jsonb_build_object('a', repeat('x', 3000000))
         WHERE contact_id = 11",
    )
    .await;
    let first = page(&app, request(1_000)).await;
    assert_eq!(first.contacts.len(), 6);
    let seen = walk(&app, request(1_000), async |_| {}).await;
    assert_eq!(seen.len(), 1_001);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_page_has_no_token_also_when_it_is_full() {
    let app = App::start().await;
    make(&app.sql().await, 6).await;
    let mut request = request(3);
    request.page_token = page(&app, request.clone()).await.next_page_token;
    let second = page(&app, request).await;
    assert_eq!(
        (second.contacts.len(), second.next_page_token.as_str()),
        (3, "")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_other_filters_a_broken_one_and_one_of_another_call_are_refused() {
    let app = App::start().await;
    make(&app.sql().await, 12).await;
    let token = page(&app, request(5)).await.next_page_token;
    let same = |page_size| ListContactsRequest {
        page_token: token.clone(),
        ..request(page_size)
    };
    assert_eq!(
        page(&app, same(7)).await.contacts.len(),
        7,
        "another size goes on"
    );

    let filter = ContactFilter {
        source: "apollo".into(),
        ..Default::default()
    };
    let mut bad = vec![
        ListContactsRequest {
            filter: Some(filter),
            ..same(5)
        },
        ListContactsRequest {
            order_by: ContactOrder::ScoreAsc.into(),
            ..same(5)
        },
    ];
    app.ingest("b1", "apollo", &["{}"]).await;
    app.ingest("b2", "apollo", &["{}"]).await;
    let batches = ListBatchesRequest {
        page_size: 1,
        ..Default::default()
    };
    let batches = app.intake().await.list_batches(batches).await.unwrap();
    let broken = (1..token.len()).map(|length| token[..length].to_owned());
    let others = ["?", "\0", "AAAA", " "].map(str::to_owned);
    let others = others.into_iter().chain(broken);
    let others = others.chain([token.clone() + "AAAA", "A".repeat(10_000)]);
    for page_token in others.chain([batches.into_inner().next_page_token]) {
        bad.push(ListContactsRequest {
            page_token,
            ..request(5)
        });
    }
    let mut client = vault(&app).await;
    for request in bad {
        let refusal = refused(client.list_contacts(request).await)
            .is(Code::InvalidArgument, "INVALID_PAGE_TOKEN");
        assert_eq!(refusal.fields, ["page_token"]);
    }
    let batches = ListBatchesRequest {
        page_token: token,
        ..Default::default()
    };
    refused(app.intake().await.list_batches(batches).await)
        .is(Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    app.stop().await;
}
