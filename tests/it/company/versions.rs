//! Many versions of one key in one call and one chunk: each is a slot, and the last wins.

use serde_json::json;

use super::{get, promote_all, slots, stage};
use crate::harness::App;

const ROWS: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_versions_in_one_call_the_last_one_wins() {
    let app = App::start().await;
    let values: Vec<_> = (0..ROWS)
        .map(|n| json!({"domain": "one.com", "name": format!("Name {n}")}))
        .collect();
    assert_eq!(stage(&app, "x", &values).await, "s".repeat(ROWS));
    assert_eq!(promote_all(&app).await, [1, 999, 0, 0]);
    assert_eq!(get(&app, "one.com").await.name, "Name 999");
    app.stop().await;
}

/// Each row is compared with the one before it, whatever else is in the call.
#[tokio::test(flavor = "multi_thread")]
async fn versions_of_a_call_are_staged_as_if_each_came_alone() {
    let app = App::start().await;
    let row = |domain: &str, name: &str| json!({"domain": format!("{domain}.com"), "name": name});
    assert_eq!(stage(&app, "x", &[row("a", "1")]).await, "s");
    let call = [
        row("a", "1"),
        row("b", "1"),
        row("a", "1"),
        row("a", "2"),
        row("b", "2"),
        row("a", "2"),
        row("a", "1"),
        row("b", "2"),
        row("a", "1"),
    ];
    assert_eq!(stage(&app, "x", &call).await, "usussusuu");
    assert_eq!(stage(&app, "x", &call[6..8]).await, "uu");
    // In the order of the rows.
    let staged: Vec<_> = slots(&app, Default::default())
        .await
        .into_iter()
        .map(|slot| (slot.domain, slot.slot.unwrap().raw_data_json))
        .map(|(domain, row)| {
            let row: serde_json::Value = serde_json::from_str(&row).unwrap();
            domain + row["name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(staged, ["a.com1", "b.com1", "a.com2", "b.com2", "a.com1"]);
    assert_eq!(promote_all(&app).await, [2, 3, 0, 0]);
    assert_eq!(get(&app, "a.com").await.name, "1");
    assert_eq!(get(&app, "b.com").await.name, "2");
    app.stop().await;
}
