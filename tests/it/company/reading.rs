//! `GetCompany` and `BatchGetCompanies`.

use leadvault::proto::company::v1::{BatchGetCompaniesRequest, CompanyKey, GetCompanyRequest};
use serde_json::json;
use tonic::Code;

use super::{by_domain, by_id, get, promote_all, stage};
use crate::harness::{App, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_company_is_found_by_its_id_and_by_every_spelling_of_its_domain() {
    let app = App::start().await;
    stage(
        &app,
        "x",
        &[json!({"domain": "bücher.example", "name": "B"})],
    )
    .await;
    promote_all(&app).await;
    let company = get(&app, "xn--bcher-kva.example").await;
    let mut client = app.company().await;
    for key in [
        by_id(&company.company_id),
        by_domain("https://www.BÜCHER.example/x"),
    ] {
        let request = GetCompanyRequest { key, as_of: None };
        let found = client.get_company(request).await.unwrap().into_inner();
        assert_eq!(found.company.as_ref(), Some(&company));
    }
    for key in [
        None,
        by_id("x"),
        by_domain("localhost"),
        Some(CompanyKey::default()),
    ] {
        refusal(
            client
                .get_company(GetCompanyRequest { key, as_of: None })
                .await,
        )
        .blames("key");
    }
    let missing = GetCompanyRequest {
        key: by_domain("no.com"),
        as_of: None,
    };
    refusal(client.get_company(missing).await)
        .is(Code::NotFound, "NOT_FOUND")
        .says("resource", "company")
        .says("key", "no.com");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_found_in_the_order_of_their_keys_and_each_once() {
    let app = App::start().await;
    stage(
        &app,
        "x",
        &[json!({"domain": "a.com"}), json!({"domain": "b.com"})],
    )
    .await;
    promote_all(&app).await;
    let a = get(&app, "a.com").await;
    let keys = [
        by_domain("b.com"),
        by_domain("no.com"),
        by_id(&a.company_id),
        by_domain("www.a.com"),
    ];
    let request = BatchGetCompaniesRequest {
        keys: keys.iter().flatten().cloned().collect(),
    };
    let mut client = app.company().await;
    let found = client
        .batch_get_companies(request)
        .await
        .unwrap()
        .into_inner();
    let domains: Vec<_> = found
        .companies
        .iter()
        .map(|company| company.domain.as_str())
        .collect();
    assert_eq!(domains, ["b.com", "a.com"]);
    assert_eq!(found.not_found, [by_domain("no.com").unwrap()]);
    refusal(
        client
            .batch_get_companies(BatchGetCompaniesRequest::default())
            .await,
    )
    .blames("keys");
    let many = BatchGetCompaniesRequest {
        keys: vec![by_domain("a.com").unwrap(); 1_001],
    };
    refusal(client.batch_get_companies(many).await).limits("max-ingest-rows", 1_000, 1_001);
    app.stop().await;
}
