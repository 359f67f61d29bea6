//! Law 12: promotion may be run by several callers at once, also while rows come in.

use leadvault::proto::people::v1::{PromotePeopleRequest, StagePeopleRequest};
use serde_json::json;

use super::{counts, people, promote, promote_all, rows};
use crate::harness::App;

const ROWS: i64 = 8_000;

#[tokio::test(flavor = "multi_thread")]
async fn law_12_two_promoters_and_a_loader_at_once() {
    let app = App::start().await;
    let sql = app.sql().await;
    // Four slots an email, far apart, so that chunks of different callers meet in the same people.
    let load = async {
        let mut client = people(&app).await;
        for chunk in 0..ROWS / 500 {
            let values: Vec<_> = (0..500)
                .map(|n| {
                    let number = chunk * 500 + n;
                    let email = format!("p{}@x.example", number * 7 % (ROWS / 4));
                    json!({"email": email, "phone": number, "title": format!("T{}", number % 3)})
                })
                .collect();
            let request = StagePeopleRequest {
                offset: Some(chunk * 500),
                ..rows(&values)
            };
            let response = client.stage_people(request).await.unwrap().into_inner();
            assert_eq!(response.tally.unwrap().staged, 500);
        }
    };
    let work = async || {
        let mut total = [0; 4];
        let mut idle = 0;
        while idle < 5 {
            let message = promote(&app, PromotePeopleRequest::default()).await;
            for (sum, count) in total.iter_mut().zip(counts(&message)) {
                *sum += count;
            }
            idle = if message.done == 0 { idle + 1 } else { 0 };
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        total
    };
    let ((), first, second) = tokio::join!(load, work(), work());
    let rest = promote_all(&app).await;
    let total: Vec<i64> = (0..4).map(|i| first[i] + second[i] + rest[i]).collect();
    assert_eq!(total.iter().sum::<i64>(), ROWS, "{total:?}");
    assert_eq!((total[0], total[3]), (ROWS / 4, 0), "{total:?}");
    for (question, answer) in [
        (
            "SELECT count(*) FROM people.slot WHERE validation_status = 'validated' AND promoted_at IS NOT NULL",
            ROWS,
        ),
        ("SELECT count(*) FROM people.master", ROWS / 4),
        // The newest slot of each email is what its person says, whoever promoted it when.
        (
            "SELECT count(*) FROM people.master AS p
             WHERE p.phone = (SELECT max((s.raw_data ->> 'phone')::bigint)::text FROM people.slot AS s
                              WHERE s.email = p.email)",
            ROWS / 4,
        ),
        (
            "SELECT count(*) FROM people.history WHERE old_values <> '{}'",
            total[1],
        ),
    ] {
        let found: i64 = sql.one(question, &[]).await;
        assert_eq!(found, answer, "{question}");
    }
    app.stop().await;
}

/// Slots that another caller holds are left to it, and nobody waits.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_slots_that_are_being_promoted_elsewhere_are_left_alone() {
    let app = App::start().await;
    super::stage(
        &app,
        rows(&[
            json!({"email": "a@x.example"}),
            json!({"email": "b@x.example"}),
        ]),
    )
    .await;
    let other = app.sql().await;
    other
        .run("BEGIN; SELECT FROM people.slot WHERE email = 'a@x.example' FOR UPDATE")
        .await;
    assert_eq!(promote_all(&app).await, [1, 0, 0, 0]);
    other.run("ROLLBACK").await;
    assert_eq!(promote_all(&app).await, [1, 0, 0, 0]);
    app.stop().await;
}
