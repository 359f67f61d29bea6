//! `ListConversions`.

use leadvault::proto::marketing::v1::{
    ConversionOrder, ConversionType, ListConversionsRequest, ListConversionsResponse,
    record_conversions_request::Item,
};
use tonic::Code;

use super::journeys::{campaigns, convert, hour, id, people, sale, words};
use crate::harness::{App, assert_field, refused, until};

async fn list(app: &App, request: ListConversionsRequest) -> ListConversionsResponse {
    let answer = app.marketing().await.list_conversions(request).await;
    answer.unwrap().into_inner()
}

/// The ids of every page.
async fn ids(app: &App, mut request: ListConversionsRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = list(app, request.clone()).await;
        let conversions = page.conversions.into_iter();
        ids.extend(conversions.map(|conversion| conversion.conversion_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

/// Every conversion belongs to one of three people, two campaigns or none, and two types; five share each hour.
#[tokio::test(flavor = "multi_thread")]
async fn filters_that_are_set_must_all_hold_in_both_orders_and_on_every_page() {
    let app = App::start().await;
    let who = &people(&app, 3).await;
    campaigns(&app, 1..3).await;
    let types = [ConversionType::Sale, ConversionType::Demo];
    let of = |number: usize| Item {
        campaign_id: [String::new(), id(1), id(2)][number % 3].clone(),
        conversion_type: types[number % 2].into(),
        ..sale(number, &who[number % 3], (number / 5) as i64, "1")
    };
    // Not in the order of their times.
    let items: Vec<Item> = (0..100).map(|nth| of(nth * 37 % 100)).collect();
    assert_eq!(words(&convert(&app, items).await), vec!["recorded"; 100]);

    for mask in 0..64 {
        let has = |bit: usize| mask & (1 << bit) != 0;
        let request = ListConversionsRequest {
            page_size: 7,
            person_id: if has(0) {
                who[1].clone()
            } else {
                String::new()
            },
            campaign_id: if has(1) { id(1) } else { String::new() },
            conversion_type: if has(2) { types[1].into() } else { 0 },
            converted_from: has(3).then(|| hour(4)),
            converted_before: has(4).then(|| hour(16)),
            order_by: if has(5) {
                ConversionOrder::ConvertedDesc.into()
            } else {
                0
            },
            ..Default::default()
        };
        let holds = |number: &usize| {
            (number % 3 == 1 || !has(0) && !has(1))
                && (!has(2) || number % 2 == 1)
                && (!has(3) || number / 5 >= 4)
                && (!has(4) || number / 5 < 16)
        };
        let mut expected: Vec<String> = (0..100).filter(holds).map(id).collect();
        if has(5) {
            expected.reverse();
        }
        assert_eq!(ids(&app, request).await, expected, "{mask:06b}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_filters_are_named_and_a_token_is_bound_to_its_own() {
    let app = App::start().await;
    let mut client = app.marketing().await;
    let who = &people(&app, 1).await;
    convert(
        &app,
        (0..3).map(|number| sale(number, &who[0], 5, "1")).collect(),
    )
    .await;
    let all = ListConversionsRequest::default;
    for (request, field) in [
        (
            ListConversionsRequest {
                person_id: "me".into(),
                ..all()
            },
            "person_id",
        ),
        (
            ListConversionsRequest {
                campaign_id: "all".into(),
                ..all()
            },
            "campaign_id",
        ),
        (
            ListConversionsRequest {
                conversion_type: 9,
                ..all()
            },
            "conversion_type",
        ),
        (
            ListConversionsRequest {
                order_by: 9,
                ..all()
            },
            "order_by",
        ),
        (
            ListConversionsRequest {
                page_size: -1,
                ..all()
            },
            "page_size",
        ),
        (
            ListConversionsRequest {
                converted_from: Some(prost_types::Timestamp {
                    seconds: i64::MIN,
                    nanos: 0,
                }),
                ..all()
            },
            "converted_from",
        ),
        (
            ListConversionsRequest {
                converted_from: Some(hour(2)),
                converted_before: Some(hour(1)),
                ..all()
            },
            "converted_before",
        ),
    ] {
        assert_field(client.list_conversions(request).await, field);
    }
    let nobody = ListConversionsRequest {
        person_id: id(99),
        ..all()
    };
    assert_eq!(list(&app, nobody).await, ListConversionsResponse::default());
    let first = ListConversionsRequest {
        page_size: 2,
        ..all()
    };
    let page_token = list(&app, first).await.next_page_token;
    let other = ListConversionsRequest {
        page_token,
        person_id: who[0].clone(),
        ..all()
    };
    refused(client.list_conversions(other).await).is(Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    app.stop().await;
}

/// A campaign's conversions come in one piece, behind those of another: its pages read nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_one_campaign_are_read_from_its_index() {
    let app = App::start().await;
    let sql = app.sql().await;
    campaigns(&app, 1..3).await;
    sql.run(&format!(
        "INSERT INTO people.master (id, email) VALUES ('{person}', 'a@x.example');
         INSERT INTO marketing.attribution (id, person_id, campaign_id, conversion_type, converted_at)
         SELECT gen_random_uuid(), '{person}', CASE WHEN n > 10000 THEN '{late}' ELSE '{early}' END::uuid, 'sale',
                timestamptz '2026-01-01' + n * interval '1 minute'
         FROM generate_series(1, 20000) AS n;
         ANALYZE marketing.attribution",
        person = id(0),
        early = id(1),
        late = id(2),
    ))
    .await;
    let request = ListConversionsRequest {
        campaign_id: id(2),
        converted_from: Some(hour(170)),
        page_size: 200,
        ..Default::default()
    };
    // 170 hours are 10,200 minutes, so that 9,801 of them are left.
    assert_eq!(ids(&app, request.clone()).await.len(), 9_801);
    let newest = ListConversionsRequest {
        order_by: ConversionOrder::ConvertedDesc.into(),
        ..request
    };
    assert_eq!(list(&app, newest).await.conversions.len(), 200);
    app.stop().await;
    let index = "idx_attribution_campaign_id_converted_at_id";
    let column = async |column: &str| {
        let query = format!("SELECT {column} FROM pg_stat_user_indexes WHERE indexrelname = $1");
        sql.one::<i64>(&query, &[&index]).await
    };
    until(index, async || {
        (column("idx_scan").await >= 51).then_some(())
    })
    .await;
    let read = column("idx_tup_read").await;
    assert!(
        read < 12_000,
        "{read} entries of the index were read for 10,001"
    );
}
