//! `ListCompanies`: filters, orders, pages, and the indexes that answer them.

use leadvault::proto::company::v1::{
    Company, CompanyFilter, CompanyOrder, CompanyStatus, ListCompaniesRequest,
};
use prost_types::Timestamp;

use crate::harness::{App, Sql, refusal};

/// Makes companies `c00001.com`, ... of ten industries, three in a second.
async fn make(sql: &Sql, count: i64) {
    sql.rows(
        "INSERT INTO company.master
             (domain, name, industry, employee_count, location, created_at, updated_at, enriched_at, status)
         SELECT 'c' || lpad(n::text, 5, '0') || '.com', 'Näme_' || n, 'Industry ' || n % 10,
                CASE WHEN n % 4 > 0 THEN n % 50 END, CASE WHEN n % 2 = 0 THEN 'Oslo 100%' ELSE 'Bergen' END,
                to_timestamp(1767225600 + n / 3), to_timestamp(1767225600 - n / 3),
                CASE WHEN n % 5 = 0 THEN to_timestamp(1767225600 + n) END,
                CASE WHEN n % 7 = 0 THEN 'archived' ELSE 'active' END
         FROM generate_series(1, $1::bigint) AS n",
        &[&count],
    )
    .await;
    sql.run("ANALYZE company.master").await;
}

/// Whether a filter finds company n.
type Holds = fn(i64) -> bool;

async fn list(
    app: &App,
    filter: CompanyFilter,
    order: CompanyOrder,
    page_size: i32,
) -> Vec<Company> {
    let mut client = app.company().await;
    let mut companies: Vec<Company> = Vec::new();
    let mut request = ListCompaniesRequest {
        filter: Some(filter),
        order_by: order.into(),
        page_size,
        ..Default::default()
    };
    loop {
        let page = client
            .list_companies(request.clone())
            .await
            .unwrap()
            .into_inner();
        companies.extend(page.companies);
        if page.next_page_token.is_empty() {
            return companies;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_they_say_in_every_order_and_page() {
    let app = App::start().await;
    make(&app.sql().await, 400).await;
    let time = |n: i64| {
        Some(Timestamp {
            seconds: 1_767_225_600 + n,
            nanos: 0,
        })
    };
    let filters: [(CompanyFilter, Holds); 9] = [
        (CompanyFilter::default(), |_| true),
        (
            CompanyFilter {
                status: CompanyStatus::Archived.into(),
                ..Default::default()
            },
            |n| n % 7 == 0,
        ),
        (
            CompanyFilter {
                industry: "Industry 3".into(),
                ..Default::default()
            },
            |n| n % 10 == 3,
        ),
        (
            CompanyFilter {
                name_prefix: "NäME_1".into(),
                ..Default::default()
            },
            |n| n.to_string().starts_with('1'),
        ),
        (
            CompanyFilter {
                name_prefix: "N%".into(),
                ..Default::default()
            },
            |_| false,
        ),
        (
            CompanyFilter {
                location_prefix: "oslo 100%".into(),
                ..Default::default()
            },
            |n| n % 2 == 0,
        ),
        (
            CompanyFilter {
                employee_count_from: Some(10),
                employee_count_to: Some(20),
                ..Default::default()
            },
            |n| n % 4 > 0 && (10..=20).contains(&(n % 50)),
        ),
        (
            CompanyFilter {
                enriched_before: time(200),
                ..Default::default()
            },
            |n| n % 5 > 0 || n < 200,
        ),
        (
            CompanyFilter {
                industry: "Industry 1".into(),
                status: CompanyStatus::Active.into(),
                ..Default::default()
            },
            |n| n % 10 == 1 && n % 7 > 0,
        ),
    ];
    for (filter, holds) in filters {
        for order in [
            CompanyOrder::Unspecified,
            CompanyOrder::CreatedDesc,
            CompanyOrder::UpdatedAsc,
            CompanyOrder::UpdatedDesc,
            CompanyOrder::EmployeeCountAsc,
            CompanyOrder::EmployeeCountDesc,
        ] {
            let counted = matches!(
                order,
                CompanyOrder::EmployeeCountAsc | CompanyOrder::EmployeeCountDesc
            );
            let mut expected: Vec<String> = (1..=400)
                .filter(|n| holds(*n) && (!counted || n % 4 > 0))
                .map(|n| format!("c{n:05}.com"))
                .collect();
            let found = list(&app, filter.clone(), order, 37).await;
            let key = |company: &Company| match order {
                CompanyOrder::EmployeeCountAsc => i64::from(company.employee_count.unwrap()),
                CompanyOrder::EmployeeCountDesc => -i64::from(company.employee_count.unwrap()),
                CompanyOrder::UpdatedAsc => company.update_time.unwrap().seconds,
                CompanyOrder::UpdatedDesc => -company.update_time.unwrap().seconds,
                CompanyOrder::CreatedDesc => -company.create_time.unwrap().seconds,
                _ => company.create_time.unwrap().seconds,
            };
            assert!(found.is_sorted_by_key(key), "{order:?} {filter:?}");
            let mut domains: Vec<String> =
                found.into_iter().map(|company| company.domain).collect();
            domains.sort();
            expected.sort();
            assert_eq!(domains, expected, "{order:?} {filter:?}");
        }
    }
    let mut client = app.company().await;
    let bad = |filter| ListCompaniesRequest {
        filter: Some(filter),
        ..Default::default()
    };
    let status = bad(CompanyFilter {
        status: 9,
        ..Default::default()
    });
    refusal(client.list_companies(status).await).blames("filter.status");
    let industry = bad(CompanyFilter {
        industry: "x".repeat(1_001),
        ..Default::default()
    });
    refusal(client.list_companies(industry).await).blames("filter.industry");
    let order = ListCompaniesRequest {
        order_by: 9,
        ..Default::default()
    };
    refusal(client.list_companies(order).await).blames("order_by");
    app.stop().await;
}

/// What an index answers reads about as much as it gives, whatever the size of the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_read_from_an_index() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 20_000).await;
    sql.run("UPDATE company.master SET industry = 'Rare' WHERE domain > 'c19990'; ANALYZE company.master").await;
    for (filter, order) in [
        (CompanyFilter::default(), CompanyOrder::Unspecified),
        (CompanyFilter::default(), CompanyOrder::UpdatedDesc),
        (CompanyFilter::default(), CompanyOrder::EmployeeCountDesc),
        (
            CompanyFilter {
                industry: "Rare".into(),
                ..Default::default()
            },
            CompanyOrder::Unspecified,
        ),
        (
            CompanyFilter {
                name_prefix: "näme_1999".into(),
                ..Default::default()
            },
            CompanyOrder::Unspecified,
        ),
    ] {
        let seq_scans = "SELECT coalesce(seq_scan, 0)::bigint FROM pg_stat_user_tables WHERE relid = 'company.master'::regclass";
        let request = ListCompaniesRequest {
            filter: Some(filter.clone()),
            order_by: order.into(),
            page_size: 5,
            ..Default::default()
        };
        sql.run("SELECT pg_stat_force_next_flush()").await;
        let before: i64 = sql.one(seq_scans, &[]).await;
        app.company().await.list_companies(request).await.unwrap();
        // A backend tells of its reads at the latest a second after.
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        sql.run("SELECT pg_stat_clear_snapshot()").await;
        let after: i64 = sql.one(seq_scans, &[]).await;
        assert_eq!(after, before, "{filter:?} {order:?} read the whole table");
    }
    app.stop().await;
}
