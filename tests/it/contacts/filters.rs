//! What the filters and orders of `ListContacts` find.

use leadvault::proto::vault::v1::{ContactFilter, ContactOrder, ListContactsRequest};
use prost_types::Timestamp;

use super::{make, vault};
use crate::harness::{App, assert_field, refused};

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_767_225_600 + seconds,
        nanos: 0,
    })
}

async fn ids(app: &App, filter: ContactFilter, order_by: ContactOrder) -> Vec<i64> {
    let request = ListContactsRequest {
        filter: Some(filter),
        order_by: order_by.into(),
        ..Default::default()
    };
    let response = vault(app).await.list_contacts(request).await.unwrap();
    let contacts = response.into_inner().contacts.into_iter();
    contacts.map(|contact| contact.contact_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_finds_what_it_says() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 5).await;
    sql.run(
        r#"UPDATE vault.contacts SET status = 'bounced' WHERE contact_id = 2;
           UPDATE vault.contacts SET source = 'apify' WHERE contact_id = 3;
           UPDATE vault.contacts SET company = 'Bücher & Söhne' WHERE contact_id = 4;
           UPDATE vault.contacts SET tags = '["vip", "a b", "1"]' WHERE contact_id IN (1, 4);
           UPDATE vault.contacts SET tags = '[["vip"], {"vip": 1}, 1]' WHERE contact_id = 2;
           UPDATE vault.contacts SET score = contact_id * 10.25;
           UPDATE vault.contacts SET updated_at = to_timestamp(1767225600 + 100 - contact_id)"#,
    )
    .await;
    let none = ContactFilter::default;
    let text = str::to_owned;
    let cases = [
        (none(), vec![1, 2, 3, 4, 5]),
        (
            ContactFilter {
                status: 1,
                ..none()
            },
            vec![1, 3, 4, 5],
        ),
        (
            ContactFilter {
                status: 3,
                ..none()
            },
            vec![2],
        ),
        (
            ContactFilter {
                status: 4,
                ..none()
            },
            vec![],
        ),
        (
            ContactFilter {
                source: text("apify"),
                ..none()
            },
            vec![3],
        ),
        (
            ContactFilter {
                company: text("Bücher & Söhne"),
                ..none()
            },
            vec![4],
        ),
        (
            ContactFilter {
                company: text("acme"),
                ..none()
            },
            vec![],
        ),
        (
            ContactFilter {
                tag: text("vip"),
                ..none()
            },
            vec![1, 4],
        ),
        (
            ContactFilter {
                tag: text("1"),
                ..none()
            },
            vec![1, 4],
        ),
        (
            ContactFilter {
                tag: text("\"' OR 1=1"),
                ..none()
            },
            vec![],
        ),
        (
            ContactFilter {
                score_from: text("20.5"),
                ..none()
            },
            vec![2, 3, 4, 5],
        ),
        (
            ContactFilter {
                score_to: text("20.50"),
                ..none()
            },
            vec![1, 2],
        ),
        (
            ContactFilter {
                score_from: text("20.51"),
                score_to: text("41"),
                ..none()
            },
            vec![3, 4],
        ),
        (
            ContactFilter {
                created_from: at(3),
                ..none()
            },
            vec![3, 4, 5],
        ),
        (
            ContactFilter {
                created_before: at(3),
                ..none()
            },
            vec![1, 2],
        ),
        (
            ContactFilter {
                updated_from: at(97),
                ..none()
            },
            vec![1, 2, 3],
        ),
        (
            ContactFilter {
                updated_before: at(97),
                ..none()
            },
            vec![4, 5],
        ),
        (
            ContactFilter {
                status: 1,
                source: text("apollo"),
                tag: text("vip"),
                created_from: at(2),
                ..none()
            },
            vec![4],
        ),
    ];
    for (filter, expected) in cases {
        let found = ids(&app, filter.clone(), ContactOrder::Unspecified).await;
        assert_eq!(found, expected, "{filter:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_is_what_it_says() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 4).await;
    sql.run(
        "UPDATE vault.contacts SET score = CASE contact_id WHEN 1 THEN 9.5 WHEN 2 THEN 100 ELSE 0 END;
         UPDATE vault.contacts SET updated_at = to_timestamp(100 - contact_id)",
    )
    .await;
    for (order, expected) in [
        (ContactOrder::CreatedAsc, [1, 2, 3, 4]),
        (ContactOrder::CreatedDesc, [4, 3, 2, 1]),
        (ContactOrder::UpdatedAsc, [4, 3, 2, 1]),
        (ContactOrder::UpdatedDesc, [1, 2, 3, 4]),
        (ContactOrder::ScoreAsc, [3, 4, 1, 2]),
        (ContactOrder::ScoreDesc, [2, 1, 4, 3]),
    ] {
        let found = ids(&app, ContactFilter::default(), order).await;
        assert_eq!(found, expected, "{order:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_cannot_be_right_are_refused_by_field() {
    let app = App::start().await;
    let mut client = vault(&app).await;
    let none = ContactFilter::default;
    let late = Some(Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    let torn = Some(Timestamp {
        seconds: 0,
        nanos: -1,
    });
    let mut cases = vec![
        (
            "filter.status",
            ContactFilter {
                status: 99,
                ..none()
            },
        ),
        (
            "filter.source",
            ContactFilter {
                source: "a\0".into(),
                ..none()
            },
        ),
        (
            "filter.source",
            ContactFilter {
                source: "x".repeat(1_001),
                ..none()
            },
        ),
        (
            "filter.company",
            ContactFilter {
                company: "a\0".into(),
                ..none()
            },
        ),
        (
            "filter.company",
            ContactFilter {
                company: "x".repeat(1_001),
                ..none()
            },
        ),
        (
            "filter.tag",
            ContactFilter {
                tag: "\0".into(),
                ..none()
            },
        ),
        (
            "filter.created_from",
            ContactFilter {
                created_from: late,
                ..none()
            },
        ),
        (
            "filter.created_before",
            ContactFilter {
                created_before: torn,
                ..none()
            },
        ),
        (
            "filter.updated_from",
            ContactFilter {
                updated_from: torn,
                ..none()
            },
        ),
        (
            "filter.updated_before",
            ContactFilter {
                updated_before: late,
                ..none()
            },
        ),
    ];
    for score in [
        "NaN", "-1", "1e1", "100.01", "1.234", " 1", "1;", "\0", "Infinity",
    ] {
        cases.push((
            "filter.score_from",
            ContactFilter {
                score_from: score.into(),
                ..none()
            },
        ));
        cases.push((
            "filter.score_to",
            ContactFilter {
                score_to: score.into(),
                ..none()
            },
        ));
    }
    for (field, filter) in cases {
        let request = ListContactsRequest {
            filter: Some(filter.clone()),
            ..Default::default()
        };
        assert_field(client.list_contacts(request).await, field);
        let request = leadvault::proto::vault::v1::ExportContactsRequest {
            filter: Some(filter),
        };
        refused(client.export_contacts(request).await).blames(field);
    }
    for (field, request) in [
        (
            "order_by",
            ListContactsRequest {
                order_by: 7,
                ..Default::default()
            },
        ),
        (
            "page_size",
            ListContactsRequest {
                page_size: -1,
                ..Default::default()
            },
        ),
    ] {
        assert_field(client.list_contacts(request).await, field);
    }
    app.stop().await;
}
