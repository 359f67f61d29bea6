//! `ListPeople` and `ListPersonSlots`: filters, orders, pages.

use leadvault::proto::{
    people::v1::{
        ListPeopleRequest, ListPersonSlotsRequest, Person, PersonFilter, PersonOrder, PersonStatus,
    },
    r#type::v1::{SlotOrder, SlotRejectionReason, SlotStatus},
};
use serde_json::json;

use super::{make, make_company, people, promote_all, rows, stage};
use crate::harness::{App, assert_field, refused};

/// Every page of a list.
async fn list(app: &App, mut request: ListPeopleRequest) -> Vec<Person> {
    let mut client = people(app).await;
    let mut people = Vec::new();
    loop {
        let page = client
            .list_people(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.people.len() <= request.page_size.max(1) as usize);
        people.extend(page.people);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return people;
        }
    }
}

fn numbers(people: &[Person]) -> Vec<i32> {
    let number = |person: &Person| person.email[1..6].parse().unwrap();
    people.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_is_paged_and_misses_and_repeats_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 25).await;
    // Some share their moments.
    sql.run(
        "UPDATE people.master SET created_at = date_trunc('minute', created_at),
                updated_at = to_timestamp(1767300000 - extract(second FROM updated_at)::int % 7)",
    )
    .await;
    for order in [
        PersonOrder::Unspecified,
        PersonOrder::CreatedAsc,
        PersonOrder::CreatedDesc,
        PersonOrder::UpdatedAsc,
        PersonOrder::UpdatedDesc,
    ] {
        let request = ListPeopleRequest {
            page_size: 4,
            order_by: order.into(),
            ..Default::default()
        };
        let found = list(&app, request).await;
        let mut all = numbers(&found);
        let times = found.windows(2).map(|pair| match order {
            PersonOrder::UpdatedAsc => (pair[0].update_time, pair[1].update_time),
            PersonOrder::UpdatedDesc => (pair[1].update_time, pair[0].update_time),
            PersonOrder::CreatedDesc => (pair[1].create_time, pair[0].create_time),
            _ => (pair[0].create_time, pair[1].create_time),
        });
        for (first, second) in times {
            assert!(
                first.unwrap().seconds <= second.unwrap().seconds,
                "{order:?}"
            );
        }
        all.sort_unstable();
        assert_eq!(all, (1..=25).collect::<Vec<_>>(), "{order:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_they_say() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 6).await;
    let company = make_company(&sql, "acme.io").await;
    sql.run(&format!(
        r"UPDATE people.master SET status = 'bounced', location = 'Berlin, DE' WHERE email = 'p00001@x.example';
          UPDATE people.master SET company_id = '{company}', seniority = 'vp' WHERE email = 'p00002@x.example';
          UPDATE people.master SET name = '100%_\real', department = 'ops' WHERE email = 'p00003@x.example';
          UPDATE people.master SET enriched_at = '2026-01-05' WHERE email = 'p00004@x.example';
          UPDATE people.master SET enriched_at = '2026-01-07' WHERE email = 'p00005@x.example';
          UPDATE people.master SET email = 'p00006@sub.x.example' WHERE email = 'p00006@x.example'"
    ))
    .await;
    let sixth = prost_types::Timestamp {
        seconds: 1_767_657_600,
        nanos: 0,
    };
    let any = PersonFilter::default;
    let cases: Vec<(PersonFilter, &[i32])> = vec![
        (any(), &[1, 2, 3, 4, 5, 6]),
        (
            PersonFilter {
                status: PersonStatus::Bounced.into(),
                ..any()
            },
            &[1],
        ),
        (
            PersonFilter {
                status: PersonStatus::Active.into(),
                ..any()
            },
            &[2, 3, 4, 5, 6],
        ),
        (
            PersonFilter {
                company_id: company.clone(),
                ..any()
            },
            &[2],
        ),
        (
            PersonFilter {
                unlinked: true,
                ..any()
            },
            &[1, 3, 4, 5, 6],
        ),
        (
            PersonFilter {
                email_domain: "Sub.X.example".into(),
                ..any()
            },
            &[6],
        ),
        (
            PersonFilter {
                email_domain: "x.example".into(),
                ..any()
            },
            &[1, 2, 3, 4, 5],
        ),
        (
            PersonFilter {
                name_prefix: "nAME ".into(),
                ..any()
            },
            &[1, 2, 4, 5, 6],
        ),
        (
            PersonFilter {
                name_prefix: r"100%_\R".into(),
                ..any()
            },
            &[3],
        ),
        (
            PersonFilter {
                name_prefix: "1_0".into(),
                ..any()
            },
            &[],
        ),
        (
            PersonFilter {
                location_prefix: "berlin".into(),
                ..any()
            },
            &[1],
        ),
        (
            PersonFilter {
                seniority: "vp".into(),
                ..any()
            },
            &[2],
        ),
        (
            PersonFilter {
                department: "ops".into(),
                ..any()
            },
            &[3],
        ),
        (
            PersonFilter {
                enriched_before: Some(sixth),
                ..any()
            },
            &[1, 2, 3, 4, 6],
        ),
        (
            PersonFilter {
                email_domain: "x.example".into(),
                unlinked: true,
                ..any()
            },
            &[1, 3, 4, 5],
        ),
    ];
    for (filter, expected) in cases {
        let request = ListPeopleRequest {
            page_size: 2,
            filter: Some(filter.clone()),
            ..Default::default()
        };
        assert_eq!(numbers(&list(&app, request).await), expected, "{filter:?}");
    }

    let mut client = people(&app).await;
    for (filter, field) in [
        (PersonFilter { status: 9, ..any() }, "filter.status"),
        (
            PersonFilter {
                company_id: "x".into(),
                ..any()
            },
            "filter.company_id",
        ),
        (
            PersonFilter {
                company_id: company,
                unlinked: true,
                ..any()
            },
            "filter.unlinked",
        ),
        (
            PersonFilter {
                email_domain: "x".into(),
                ..any()
            },
            "filter.email_domain",
        ),
        (
            PersonFilter {
                name_prefix: "\0".into(),
                ..any()
            },
            "filter.name_prefix",
        ),
        (
            PersonFilter {
                seniority: "x".repeat(1_001),
                ..any()
            },
            "filter.seniority",
        ),
    ] {
        let request = ListPeopleRequest {
            filter: Some(filter),
            ..Default::default()
        };
        assert_field(client.list_people(request).await, field);
    }
    let first = ListPeopleRequest {
        page_size: 1,
        ..Default::default()
    };
    let page = client
        .list_people(first.clone())
        .await
        .unwrap()
        .into_inner();
    let other = ListPeopleRequest {
        page_token: page.next_page_token,
        order_by: PersonOrder::CreatedDesc.into(),
        ..first
    };
    refused(client.list_people(other).await);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_listed_by_what_they_are() {
    let app = App::start().await;
    let sql = app.sql().await;
    stage(
        &app,
        rows(&[
            json!({"email": "a@x.example"}),
            json!({"email": "b@x.example"}),
        ]),
    )
    .await;
    let mut other = rows(&[json!({"email": "a@x.example", "n": 1})]);
    other.batch_id = "c".into();
    other.source = "crm".into();
    stage(&app, other).await;
    sql.run("INSERT INTO people.slot (email, raw_data) VALUES ('nobody', '{}')")
        .await;
    promote_all(&app).await;
    stage(&app, rows(&[json!({"email": "a@x.example", "n": 2})])).await;

    let any = ListPersonSlotsRequest::default;
    let mut client = people(&app).await;
    let cases: Vec<(ListPersonSlotsRequest, &[i64])> = vec![
        (any(), &[1, 2, 3, 4, 5]),
        (
            ListPersonSlotsRequest {
                order_by: SlotOrder::NewestFirst.into(),
                ..any()
            },
            &[5, 4, 3, 2, 1],
        ),
        (
            ListPersonSlotsRequest {
                status: SlotStatus::Pending.into(),
                ..any()
            },
            &[5],
        ),
        (
            ListPersonSlotsRequest {
                status: SlotStatus::Rejected.into(),
                ..any()
            },
            &[4],
        ),
        (
            ListPersonSlotsRequest {
                email: "A@x.example".into(),
                ..any()
            },
            &[1, 3, 5],
        ),
        (
            ListPersonSlotsRequest {
                source: "crm".into(),
                ..any()
            },
            &[3],
        ),
        (
            ListPersonSlotsRequest {
                batch_id: "b".into(),
                ..any()
            },
            &[1, 2, 5],
        ),
        (
            ListPersonSlotsRequest {
                rejection_reason: SlotRejectionReason::InvalidEmail.into(),
                ..any()
            },
            &[4],
        ),
    ];
    for (mut request, expected) in cases {
        request.page_size = 2;
        let mut found = Vec::new();
        loop {
            let page = client
                .list_person_slots(request.clone())
                .await
                .unwrap()
                .into_inner();
            found.extend(
                page.slots
                    .iter()
                    .map(|slot| slot.slot.as_ref().unwrap().slot_number),
            );
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "{request:?}");
    }
    let bad = ListPersonSlotsRequest {
        email: "nobody".into(),
        ..any()
    };
    assert_field(client.list_person_slots(bad).await, "email");
    app.stop().await;
}
