//! `UpdateCompany` and `ArchiveCompany`.

use futures_util::future::join_all;
use leadvault::proto::{
    company::v1::{ArchiveCompanyRequest, Company, CompanyStatus, UpdateCompanyRequest},
    google::r#type::Decimal,
};
use prost_types::FieldMask;
use serde_json::json;
use tonic::{Code, Status};

use super::{bring, get, history, writes};
use crate::harness::{App, refusal};

pub(super) fn change(company: &Company, fields: &[&str]) -> UpdateCompanyRequest {
    UpdateCompanyRequest {
        company: Some(company.clone()),
        update_mask: Some(FieldMask {
            paths: fields.iter().map(|field| (*field).to_owned()).collect(),
        }),
        ..Default::default()
    }
}

pub(super) async fn update(app: &App, request: UpdateCompanyRequest) -> Result<Company, Status> {
    let response = app.company().await.update_company(request).await?;
    Ok(response.into_inner().company.unwrap())
}

async fn acme(app: &App) -> Company {
    let row = json!({"domain": "acme.com", "name": "Acme", "employee_count": 7, "revenue": "1.50", "location": "Oslo"});
    assert_eq!(bring(app, "x", row).await, [1, 0, 0, 0]);
    get(app, "acme.com").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_in_the_mask_are_changed_and_pinned_until_they_are_unpinned() {
    let app = App::start().await;
    let before = acme(&app).await;
    let wanted = Company {
        name: " Acme Inc ".into(),
        employee_count: None,
        revenue: Some(Decimal {
            value: "1e3".into(),
        }),
        linkedin_url: "linkedin.com/company/ACME/".into(),
        location: "not in the mask".into(),
        ..before.clone()
    };
    let fields = ["name", "employee_count", "revenue", "linkedin_url"];
    let after = update(&app, change(&wanted, &fields)).await.unwrap();
    assert_eq!(after.name, "Acme Inc");
    assert_eq!(after.employee_count, None);
    assert_eq!(after.revenue.clone().unwrap().value, "1000");
    assert_eq!(after.linkedin_url, "https://www.linkedin.com/company/acme");
    assert_eq!(after.location, "Oslo");
    assert_eq!(after.pinned_fields, fields);
    assert_ne!(after.etag, before.etag);

    let row =
        json!({"domain": "acme.com", "name": "Row", "employee_count": 9, "location": "Bergen"});
    assert_eq!(bring(&app, "x", row).await, [0, 1, 0, 0]);
    let merged = get(&app, "acme.com").await;
    assert_eq!(
        (merged.name.as_str(), merged.location.as_str()),
        ("Acme Inc", "Bergen")
    );
    let unpin = UpdateCompanyRequest {
        unpin: vec!["name".into()],
        ..change(&merged, &[])
    };
    let unpinned = update(&app, unpin).await.unwrap();
    assert_eq!(unpinned.pinned_fields, fields[1..]);
    assert_eq!(
        bring(&app, "x", json!({"domain": "acme.com", "name": "Row 2"})).await,
        [0, 1, 0, 0]
    );
    assert_eq!(get(&app, "acme.com").await.name, "Row 2");
    let last = history(&app, "acme.com").await.pop().unwrap();
    assert_eq!(last.changed_fields, ["name"]);
    assert_eq!(
        (last.old_values_json.as_str(), last.new_values_json.as_str()),
        (r#"{"name": "Acme Inc"}"#, r#"{"name": "Row 2"}"#)
    );
    assert_eq!(last.changed_by, "anonymous");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_7_of_many_who_read_the_same_company_one_wins() {
    let app = App::start().await;
    let before = acme(&app).await;
    let calls = (0..8).map(|n| {
        let wanted = Company {
            name: format!("Writer {n}"),
            ..before.clone()
        };
        let app = &app;
        async move { update(app, change(&wanted, &["name"])).await }
    });
    let answers = join_all(calls).await;
    let won: Vec<_> = answers.iter().flatten().collect();
    assert_eq!(won.len(), 1);
    let now = get(&app, "acme.com").await;
    assert_eq!(*won[0], now);
    for lost in answers.into_iter().filter(Result::is_err) {
        refusal(lost)
            .is(Code::Aborted, "ETAG_MISMATCH")
            .says("current_etag", &now.etag);
    }
    // Law 8: what is as it is, is not written.
    let sql = app.sql().await;
    let writes_before = writes(&sql).await;
    assert_eq!(update(&app, change(&now, &["name"])).await.unwrap(), now);
    assert_eq!(writes(&sql).await, writes_before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrichment_pins_nothing_spares_pins_and_says_when_it_was() {
    let app = App::start().await;
    let before = acme(&app).await;
    let pinned = update(
        &app,
        change(
            &Company {
                name: "By hand".into(),
                ..before
            },
            &["name"],
        ),
    )
    .await
    .unwrap();
    let found = Company {
        name: "Found".into(),
        industry: "Tools".into(),
        location: String::new(),
        ..pinned
    };
    let request = UpdateCompanyRequest {
        enrichment: true,
        ..change(&found, &["name", "industry", "location"])
    };
    let after = update(&app, request).await.unwrap();
    assert_eq!(
        (
            after.name.as_str(),
            after.industry.as_str(),
            after.location.as_str()
        ),
        ("By hand", "Tools", "Oslo")
    );
    assert_eq!(after.pinned_fields, ["name"]);
    let enriched = after.enrich_time.unwrap();
    let entries = history(&app, "acme.com").await.len();
    // One that finds nothing new says so, and no more.
    let again = UpdateCompanyRequest {
        enrichment: true,
        ..change(&after, &["industry"])
    };
    let again = update(&app, again).await.unwrap();
    assert!(again.enrich_time.unwrap().nanos != enriched.nanos);
    assert_eq!(
        (again.update_time, &again.etag),
        (after.update_time, &after.etag)
    );
    assert_eq!(history(&app, "acme.com").await.len(), entries);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_refused_by_name() {
    let app = App::start().await;
    let company = acme(&app).await;
    let decimal = |value: &str| {
        Some(Decimal {
            value: value.into(),
        })
    };
    for (field, request) in [
        ("update_mask", change(&company, &[])),
        ("update_mask", change(&company, &["domain"])),
        ("update_mask", change(&company, &["nonsense"])),
        (
            "unpin",
            UpdateCompanyRequest {
                unpin: vec!["name".into()],
                ..change(&company, &["name"])
            },
        ),
        (
            "unpin",
            UpdateCompanyRequest {
                unpin: vec!["name".into()],
                enrichment: true,
                ..change(&company, &["industry"])
            },
        ),
        (
            "company.etag",
            change(
                &Company {
                    etag: String::new(),
                    ..company.clone()
                },
                &["name"],
            ),
        ),
        (
            "company.company_id",
            change(
                &Company {
                    company_id: "x".into(),
                    ..company.clone()
                },
                &["name"],
            ),
        ),
        (
            "company.name",
            change(
                &Company {
                    name: "x".repeat(1_001),
                    ..company.clone()
                },
                &["name"],
            ),
        ),
        (
            "company.employee_count",
            change(
                &Company {
                    employee_count: Some(-1),
                    ..company.clone()
                },
                &["employee_count"],
            ),
        ),
        (
            "company.revenue",
            change(
                &Company {
                    revenue: decimal("-1"),
                    ..company.clone()
                },
                &["revenue"],
            ),
        ),
        (
            "company.revenue",
            change(
                &Company {
                    revenue: decimal("NaN"),
                    ..company.clone()
                },
                &["revenue"],
            ),
        ),
        (
            "company.revenue",
            change(
                &Company {
                    revenue: decimal("1e65"),
                    ..company.clone()
                },
                &["revenue"],
            ),
        ),
        (
            "company.linkedin_url",
            change(
                &Company {
                    linkedin_url: "x".into(),
                    ..company.clone()
                },
                &["linkedin_url"],
            ),
        ),
        (
            "company.website",
            change(
                &Company {
                    website: "http://".into(),
                    ..company.clone()
                },
                &["website"],
            ),
        ),
    ] {
        refusal(update(&app, request).await).blames(field);
    }
    let nobody = Company {
        company_id: "6f2d9d1e-0a39-4b59-a4c0-7f3f39c3fd6a".into(),
        ..company
    };
    refusal(update(&app, change(&nobody, &["name"])).await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_company_stays_archived_and_is_still_merged() {
    let app = App::start().await;
    let company = acme(&app).await;
    let request = ArchiveCompanyRequest {
        company_id: company.company_id.clone(),
        etag: company.etag.clone(),
    };
    let stale = ArchiveCompanyRequest {
        etag: "stale".into(),
        ..request.clone()
    };
    let mut client = app.company().await;
    refusal(client.archive_company(stale.clone()).await).is(Code::Aborted, "ETAG_MISMATCH");
    let archived = client
        .archive_company(request)
        .await
        .unwrap()
        .into_inner()
        .company
        .unwrap();
    assert_eq!(archived.status(), CompanyStatus::Archived);
    let again = client
        .archive_company(stale)
        .await
        .unwrap()
        .into_inner()
        .company
        .unwrap();
    assert_eq!(again, archived);
    assert_eq!(
        bring(&app, "x", json!({"domain": "acme.com", "name": "New"})).await,
        [0, 1, 0, 0]
    );
    let now = get(&app, "acme.com").await;
    assert_eq!(
        (now.status(), now.name.as_str()),
        (CompanyStatus::Archived, "New")
    );
    assert_eq!(history(&app, "acme.com").await.len(), 3);
    app.stop().await;
}
