//! The gate while its messages cannot be written: who gave up, who is too many, and whom no connection is left for.

use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use leadvault::proto::{
    intake::v1::GetBatchRequest,
    marketing::v1::{
        RecordOutreachRequest, RecordOutreachResponse, record_outreach_request::Item,
        record_outreach_response::outcome::Result as Verdict,
    },
};
use tonic::{Code, Request, Status};

use super::{email_to, new_id, outreach::messages, people, record, try_record};
use crate::harness::{App, Sql, heard, refusal, until};

const SHORT: Duration = Duration::from_secs(1);
/// As many batches as are written at the same time.
const BATCHES: i64 = 2;
/// As many messages as one call may have, and as may wait.
const CALL: usize = 1_000;
const MOST_WAITING: usize = 20 * CALL;

/// Lets nobody write a message, until `COMMIT`.
async fn lock_messages(app: &App) -> Sql {
    let owner = app.sql().await;
    owner
        .run("BEGIN; LOCK TABLE marketing.outreach_history IN ACCESS EXCLUSIVE MODE")
        .await;
    owner
}

async fn until_waiting(sql: &Sql, count: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("as many statements wait", async || {
        (sql.one::<i64>(waiting, &[]).await == count).then_some(())
    })
    .await;
}

/// Waits until the service works on so many calls of the gate.
async fn until_in_flight(app: &App, count: i64) {
    let line = format!(
        "grpc_server_in_flight{{grpc_service=\"leadvault.marketing.v1.MarketingService\",\
         grpc_method=\"RecordOutreach\",grpc_type=\"unary\"}} {count}\n"
    );
    until("as many calls are in flight", async || {
        app.page("/metrics").await.1.contains(&line).then_some(())
    })
    .await;
}

async fn record_within(
    app: &App,
    timeout: Duration,
    items: Vec<Item>,
) -> Result<RecordOutreachResponse, Status> {
    let mut request = Request::new(RecordOutreachRequest {
        items,
        ..Default::default()
    });
    request.set_timeout(timeout);
    let response = app.marketing().await.record_outreach(request).await?;
    Ok(response.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gave_up_before_its_turn_is_not_recorded() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let item = || vec![email_to(&person, "")];
    let owner = lock_messages(&app).await;
    let released = async {
        until_waiting(&sql, 1).await;
        let second = record(&app, item());
        let rest = async {
            until_waiting(&sql, BATCHES).await;
            // Both batches are being written: these wait for their turn.
            let late = heard(async || record_within(&app, SHORT, item()).await);
            refusal(late.await).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
            let went_away = tokio::time::timeout(SHORT, record(&app, item()));
            assert!(went_away.await.is_err(), "it was answered");
            until_in_flight(&app, BATCHES).await;
            owner.run("COMMIT").await;
        };
        tokio::join!(second, rest).0
    };
    let (first, second) = tokio::join!(record(&app, item()), released);
    let third = record(&app, item()).await;
    for outcomes in [first, second, third] {
        assert_eq!(outcomes[0].result(), Verdict::Recorded);
    }
    app.stop().await;
    drop(owner);
    sql.until_alone().await;
    assert_eq!(messages(&sql).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_deadline_comes_while_it_is_written_may_be_sent_again() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let item = email_to(&person, "");
    let owner = lock_messages(&app).await;
    let late = heard(async || record_within(&app, SHORT, vec![item.clone()]).await);
    let late = refusal(late.await).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    assert!(
        late.message.contains("same request_id or message ids"),
        "{late:?}"
    );
    // It shares its transaction with others: no deadline cuts that.
    sql.until_somebody_waits().await;
    owner.run("COMMIT").await;
    until("it is recorded", async || {
        (messages(&sql).await == 1).then_some(())
    })
    .await;
    let again = record(&app, vec![item]).await.remove(0);
    assert_eq!((again.result(), again.replayed), (Verdict::Recorded, true));
    assert_eq!(messages(&sql).await, 1);
    app.stop().await;
}

/// Past what may wait a call is refused at once, while the others wait on.
#[tokio::test(flavor = "multi_thread")]
async fn the_line_before_the_gate_has_an_end() {
    const TOO_MANY: usize = 5;
    let app = App::start().await;
    let sql = app.sql().await;
    let owner = lock_messages(&app).await;
    let nobody = new_id();
    let items = || (0..CALL).map(|_| email_to(&nobody, "")).collect();
    let mut written = FuturesUnordered::new();
    for _ in 0..BATCHES {
        written.push(Box::pin(try_record(&app, items())));
    }
    tokio::select! {
        answer = written.next() => panic!("{answer:?}"),
        () = until_waiting(&sql, BATCHES) => {}
    }
    for _ in 0..MOST_WAITING / CALL + TOO_MANY {
        written.push(Box::pin(try_record(&app, items())));
    }
    for _ in 0..TOO_MANY {
        let refused = refusal(written.next().await.unwrap())
            .is(Code::ResourceExhausted, "TOO_MANY")
            .says("what", "messages")
            .says("limit", MOST_WAITING);
        assert!(refused.retry, "{refused:?}");
    }
    let waiting = futures_util::future::poll_immediate(written.next()).await;
    assert!(waiting.is_none(), "{waiting:?}");
    drop(written);
    owner.run("COMMIT").await;
    until("those who went away to be known for it", async || {
        try_record(&app, vec![email_to(&nobody, "")]).await.ok()
    })
    .await;
    app.stop().await;
}

/// The places of those who gave up are free.
#[tokio::test(flavor = "multi_thread")]
async fn who_gave_up_is_in_nobodys_way() {
    let app = App::start().await;
    let sql = app.sql().await;
    let owner = lock_messages(&app).await;
    let nobody = new_id();
    let items = || (0..CALL).map(|_| email_to(&nobody, "")).collect();
    let written = [try_record(&app, items()), try_record(&app, items())];
    let written = futures_util::future::join_all(written);
    let rest = async {
        until_waiting(&sql, BATCHES).await;
        let late = (0..MOST_WAITING / CALL).map(|_| record_within(&app, SHORT, items()));
        for answer in futures_util::future::join_all(late).await {
            assert!(answer.is_err(), "{answer:?}");
        }
        // The server may not have heard yet of the last of them.
        let next = until("there is room", async || {
            try_record(&app, items()).await.ok()
        });
        let release = async {
            until_in_flight(&app, BATCHES + 1).await;
            owner.run("COMMIT").await;
        };
        tokio::join!(next, release).0
    };
    let (written, next) = tokio::join!(written, rest);
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    assert_eq!(next.outcomes.len(), CALL);
    app.stop().await;
}

/// A call that shares its transaction waits for a connection as shortly as any other.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_waits_long_for_a_connection() {
    let app = App::start_with(&["--pool-size=1", "--pool-timeout=0.5"]).await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let owner = app.sql().await;
    owner
        .run("BEGIN; LOCK TABLE intake.batches IN ACCESS EXCLUSIVE MODE")
        .await;
    let mut intake = app.intake().await;
    let busy = intake.get_batch(GetBatchRequest {
        batch_id: "none".into(),
    });
    let rest = async {
        until_waiting(&sql, 1).await;
        let begun = Instant::now();
        let calls = (0..10).map(|_| try_record(&app, vec![email_to(&person, "")]));
        for answer in futures_util::future::join_all(calls).await {
            let refused = refusal(answer).is(Code::ResourceExhausted, "POOL_EXHAUSTED");
            assert!(refused.retry, "{refused:?}");
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
        owner.run("COMMIT").await;
    };
    let (got, ()) = tokio::join!(busy, rest);
    refusal(got).is(Code::NotFound, "NOT_FOUND");
    let outcomes = record(&app, vec![email_to(&person, "")]).await;
    assert_eq!(outcomes[0].result(), Verdict::Recorded);
    assert_eq!(messages(&sql).await, 1);
    app.stop().await;
}
