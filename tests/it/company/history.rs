//! The history that the database writes, and what is answered from it.

use futures_util::future::join_all;
use leadvault::proto::{
    company::v1::{Company, GetCompanyRequest, ListCompanyHistoryRequest},
    google::r#type::Decimal,
    r#type::v1::HistoryOrder,
};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};
use tonic::Code;

use super::{
    bring, by_domain, by_id, get, history, promote_all, stage,
    updating::{change, update},
};
use crate::harness::{App, refusal};

/// A small generator of numbers: the same each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A random change of a company, and the mask that says which.
fn roll(dice: &mut Dice, company: &Company) -> (Company, Vec<&'static str>) {
    let mut wanted = company.clone();
    let mut mask = Vec::new();
    if dice.roll(2) == 0 {
        wanted.name = format!("Name {}", dice.roll(4));
        mask.push("name");
    }
    if dice.roll(2) == 0 {
        wanted.employee_count = (dice.roll(4) > 0).then(|| i32::try_from(dice.roll(5)).unwrap());
        mask.push("employee_count");
    }
    if dice.roll(3) == 0 || mask.is_empty() {
        let value = format!("{}.{}", dice.roll(1_000), dice.roll(100));
        wanted.revenue = (dice.roll(4) > 0).then_some(Decimal { value });
        mask.push("revenue");
    }
    (wanted, mask)
}

async fn as_of(app: &App, id: &str, time: Timestamp) -> Result<Company, tonic::Status> {
    let request = GetCompanyRequest {
        key: by_id(id),
        as_of: Some(time),
    };
    let response = app.company().await.get_company(request).await?;
    Ok(response.into_inner().company.unwrap())
}

/// What `as_of` promises of a company that was read at its time.
fn past(company: &Company) -> Company {
    Company {
        etag: String::new(),
        enrich_time: None,
        ..company.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_of_agrees_with_a_journal_and_the_history_replays_from_its_end() {
    const COMPANIES: usize = 5;
    const WRITERS: usize = 4;
    const UPDATES: usize = 250;
    let app = App::start().await;
    let values: Vec<_> = (0..COMPANIES)
        .map(|n| json!({"domain": format!("c{n}.com"), "name": "First"}))
        .collect();
    stage(&app, "x", &values).await;
    promote_all(&app).await;

    let writer = async |seed: usize| {
        let mut dice = Dice(seed as u64);
        let mut journal = Vec::new();
        let mut done = 0;
        while done < UPDATES {
            let domain = format!("c{}.com", dice.roll(COMPANIES as u64));
            let read = get(&app, &domain).await;
            let (wanted, mask) = roll(&mut dice, &read);
            let mut request = change(&wanted, &mask);
            request.enrichment = dice.roll(8) == 0;
            // Somebody else may have been faster.
            if let Ok(written) = update(&app, request).await {
                journal.push(written);
                done += 1;
            }
        }
        journal
    };
    let mut journal: Vec<Company> = (0..COMPANIES).map(|_| Company::default()).collect();
    for (n, first) in journal.iter_mut().enumerate() {
        *first = get(&app, &format!("c{n}.com")).await;
    }
    journal.extend(
        join_all((0..WRITERS).map(writer))
            .await
            .into_iter()
            .flatten(),
    );
    assert_eq!(journal.len(), COMPANIES + WRITERS * UPDATES);
    for written in &journal {
        let then = as_of(&app, &written.company_id, written.update_time.unwrap())
            .await
            .unwrap();
        assert_eq!(then, past(written));
    }
    for n in 0..COMPANIES {
        replay(&app, &format!("c{n}.com"), &journal).await;
    }
    app.stop().await;
}

/// Takes the changes of a company back one by one, and compares what is left with `as_of` and the journal.
async fn replay(app: &App, domain: &str, journal: &[Company]) {
    let now = get(app, domain).await;
    let text: String = app
        .sql()
        .await
        .one(
            "SELECT company.f_image(c)::text FROM company.master AS c WHERE domain = $1",
            &[&domain],
        )
        .await;
    let mut state: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let entries = history(app, domain).await;
    assert!(entries.windows(2).all(|pair| {
        let time = |at: usize| pair[at].change_time.unwrap();
        (time(0).seconds, time(0).nanos) <= (time(1).seconds, time(1).nanos)
    }));
    for entry in entries.iter().rev() {
        let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let (old, new) = (
            object(&entry.old_values_json),
            object(&entry.new_values_json),
        );
        let then = as_of(app, &now.company_id, entry.change_time.unwrap())
            .await
            .unwrap();
        assert_eq!(state["name"].as_str().unwrap_or_default(), then.name);
        assert_eq!(
            state["employee_count"].as_i64(),
            then.employee_count.map(i64::from)
        );
        assert!(
            journal.iter().any(|written| past(written) == then),
            "{then:?}"
        );
        let mut fields: Vec<&String> = new.keys().collect();
        let mut said: Vec<&String> = entry.changed_fields.iter().collect();
        fields.sort();
        said.sort();
        assert_eq!(fields, said);
        for (field, value) in new {
            assert_eq!(state[&field], value, "{field}");
            match old.get(&field) {
                Some(before) => state.insert(field, before.clone()),
                None => state.remove(&field),
            };
        }
    }
    // Before the first there was nothing.
    let left: Vec<_> = state
        .iter()
        .filter(|(_, value)| !value.is_null() && **value != json!([]))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_was_no_company_before_it_was_made() {
    let app = App::start().await;
    bring(&app, "x", json!({"domain": "a.com", "name": "A"})).await;
    let company = get(&app, "a.com").await;
    let made = company.create_time.unwrap();
    assert_eq!(
        as_of(&app, &company.company_id, made).await.unwrap(),
        past(&company)
    );
    let before = Timestamp {
        seconds: made.seconds - 1,
        ..made
    };
    refusal(as_of(&app, &company.company_id, before).await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}

/// Law 9: whoever changes a company, and however.
#[tokio::test(flavor = "multi_thread")]
async fn law_9_statements_by_hand_write_history_too() {
    let app = App::start().await;
    let sql = app.sql_as_app().await;
    sql.run("INSERT INTO company.master (domain, revenue) VALUES ('a.com', 1.50), ('b.com', NULL)")
        .await;
    sql.run("SET leadvault.actor = 'me'; UPDATE company.master SET name = 'N', updated_at = now()")
        .await;
    sql.run("UPDATE company.master SET updated_at = now(), enriched_at = now()")
        .await;
    sql.run("UPDATE company.master SET name = 'N'").await;
    let entries = history(&app, "a.com").await;
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].old_values_json, "{}");
    assert_eq!(
        entries[0].new_values_json,
        r#"{"domain": "a.com", "status": "active", "revenue": 1.50}"#
    );
    assert_eq!(
        (
            entries[1].changed_by.as_str(),
            entries[1].old_values_json.as_str()
        ),
        ("me", r#"{"name": null}"#)
    );
    let refused = sql.refused("DELETE FROM company.history").await;
    assert!(refused.starts_with("permission denied"), "{refused}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_listed_in_pages_both_ways() {
    let app = App::start().await;
    for n in 0..10 {
        bring(
            &app,
            "x",
            json!({"domain": "a.com", "name": format!("N{n}")}),
        )
        .await;
    }
    let all = history(&app, "a.com").await;
    assert_eq!(all.len(), 10);
    let mut client = app.company().await;
    for (order, reversed) in [
        (HistoryOrder::OldestFirst, false),
        (HistoryOrder::NewestFirst, true),
    ] {
        let mut request = ListCompanyHistoryRequest {
            key: by_domain("a.com"),
            page_size: 3,
            order_by: order.into(),
            changed_from: all[2].change_time,
            ..Default::default()
        };
        let mut listed = Vec::new();
        loop {
            let page = client
                .list_company_history(request.clone())
                .await
                .unwrap()
                .into_inner();
            listed.extend(page.entries);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if reversed {
            listed.reverse();
        }
        assert_eq!(listed, all[2..]);
    }
    let missing = ListCompanyHistoryRequest {
        key: by_domain("no.com"),
        ..Default::default()
    };
    refusal(client.list_company_history(missing).await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}
